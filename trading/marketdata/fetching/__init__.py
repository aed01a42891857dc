"""What is missing is fetched, once and no faster than a broker allows."""
