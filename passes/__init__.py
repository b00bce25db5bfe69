"""One pass a file; each is a frozen dataclass whose fields are its options."""
