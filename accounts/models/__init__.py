from accounts.models.api_key import ApiKey
from accounts.models.broker_account import BrokerAccount
from accounts.models.broker_login import BrokerLogin
from accounts.models.user import User

__all__ = ["ApiKey", "BrokerAccount", "BrokerLogin", "User"]
