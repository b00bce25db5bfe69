"""The report: one model, and its views as text, JSON and HTML."""
