"""The safe rule language: text in, a bounded, look-ahead-free evaluation out."""
