"""One story with short endings: `base` is the story, `dev`, `test`, `staging` and `prod` end it."""
