from django.contrib.auth.models import AbstractUser


class User(AbstractUser):
    """A person with money at stake, or an operator of the desk (staff)."""
