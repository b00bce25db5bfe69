"""One folder a chip family; a target never imports another target."""
