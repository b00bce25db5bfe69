"""Hardware descriptions: one TOML file a chip or board variant, and their JSON Schema."""
