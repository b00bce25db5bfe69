"""What all emulators share: checks of inputs, the result of a run."""
