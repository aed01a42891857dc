from django.contrib.auth.models import AbstractUser


class User(AbstractUser):
    """A person with money at stake, or an operator of the desk (staff)."""

    class Meta(AbstractUser.Meta):
        permissions = [("operate", "Can operate the desk: approve, cancel, close, pause, kill")]
