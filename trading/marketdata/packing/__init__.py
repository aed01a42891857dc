"""How candles lie in the database and in files: blocks of bytes, laid side by side."""
