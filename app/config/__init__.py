"""The settings of every process, as others import them. `.env.example` says what each one means."""

from app.config.addresses import address, is_loopback
from app.config.problems import Problem, SettingsError
from app.config.settings import Settings, variables

__all__ = ["Problem", "Settings", "SettingsError", "address", "is_loopback", "variables"]
