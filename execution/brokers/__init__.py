"""Adapters: each speaks one broker's dialect behind the port. Free of Django; ignorant of any particular venue."""
