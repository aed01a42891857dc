"""Each bar of each deployment, once, as soon as it is complete."""
