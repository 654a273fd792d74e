"""Settings of Django: all comes from the environment or `$REGULARS_HOME`, nothing from the repository."""

import os
import secrets
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import structlog

from regulars.lib.watched_database import WatchedConnection

HOME = Path(os.environ.get("REGULARS_HOME") or "var").absolute()


def secret_key(home: Path) -> str:
    """`SECRET_KEY` from the environment, else one made once and kept (mode 0600) in the home folder."""
    if given := os.environ.get("SECRET_KEY"):
        return given
    path = home / "secret_key"
    if not path.exists():
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        # O_EXCL: of two first starts at once only one makes the key, both read the same.
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return path.read_text()
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_urlsafe(48))
    return path.read_text()


# A database that is gone is noticed within some fifteen seconds, also when packets vanish instead of
# being refused: by probes while a connection is idle, by the time without acknowledgement while not.
_LIVELINESS = {
    "connect_timeout": "5",
    "keepalives": "1",
    "keepalives_idle": "5",
    "keepalives_interval": "3",
    "keepalives_count": "3",
    "tcp_user_timeout": "12000",
}
# The same from the server's side: without it, what a vanished host had locked stays locked for hours.
# No statement_timeout: planning a million guests is one statement; senders set their own, and a worker
# ends what the server does not work on (`lib.watched_database`).
_SESSION = (
    "-c tcp_keepalives_idle=5 -c tcp_keepalives_interval=3 -c tcp_keepalives_count=3"
    " -c tcp_user_timeout=12000 -c idle_in_transaction_session_timeout=60s"
)


def database(url: str) -> dict[str, Any]:
    """Django's database settings from a libpq URL (`postgresql://user:password@host:port/name?options`).

    `host` and `port` may also be given as query parameters, as libpq allows for a unix socket.
    """
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")) or "regulars",
        "USER": unquote(parts.username or "") or query.pop("user", ""),
        "PASSWORD": unquote(parts.password or "") or query.pop("password", ""),
        "HOST": query.pop("host", None) or unquote(parts.hostname or ""),
        "PORT": str(parts.port or query.pop("port", "") or ""),
        "CONN_MAX_AGE": 0,
        # After the server was restarted nobody is handed a connection that died with it.
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {
            # A pool instead of persistent connections: under ASGI each request has a thread of its own.
            # Short attempts: a server that is back after an hour is used again after seconds.
            "pool": {
                "min_size": 0,
                "max_size": 20,
                "timeout": 10,
                "reconnect_timeout": 5,
                "connection_class": WatchedConnection,
            },
            **_LIVELINESS,
            **query,
            "options": f"{_SESSION} {query.get('options', '')}".rstrip(),
        },
    }


DATABASE_URL = os.environ.get("DATABASE_URL") or os.environ.get("REGULARS_EMBEDDED_URL") or ""
DATABASES = {"default": database(DATABASE_URL or "postgresql://regulars@/regulars")}

SECRET_KEY = secret_key(HOME)
CRON_SECRET = os.environ.get("CRON_SECRET", "")
RUN_WAIT_SECONDS = float(os.environ.get("REGULARS_RUN_WAIT") or 300)
# Whole months of messages besides the current one; 0: for ever.
KEEP_MONTHS = int(os.environ.get("REGULARS_KEEP_MONTHS") or 24)
DEBUG = False
ALLOWED_HOSTS = os.environ.get("REGULARS_HOSTS", "*").split(",")
CSRF_TRUSTED_ORIGINS = [
    origin for origin in os.environ.get("REGULARS_TRUSTED_ORIGINS", "").split(",") if origin
]
# Webhooks to private addresses (and over plain http), for a receiver in the same house.
WEBHOOKS_TO_PRIVATE = os.environ.get("REGULARS_WEBHOOKS_TO_PRIVATE", "") == "1"
PUBLIC_URL = os.environ.get("REGULARS_PUBLIC_URL", "")

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "procrastinate.contrib.django",
    "regulars.organizations",
    "regulars.customers",
    "regulars.automations",
    "regulars.runs",
    "regulars.webhooks",
    "regulars.callbacks",
    "regulars.hospitality",
    "regulars.api",
    "regulars.dashboard",
    "allauth",
    "allauth.account",
    "django_htmx",
    # Only for the documentation's own scripts and styles: without it they would come from a CDN.
    "ninja",
]
MIDDLEWARE = [
    "servestatic.middleware.ServeStaticMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "regulars.dashboard.security.ContentSecurityPolicy",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]
ROOT_URLCONF = "regulars.urls"
ASGI_APPLICATION = "regulars.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
AUTH_USER_MODEL = "organizations.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_ADAPTER = "regulars.dashboard.accounts.ClosedSignup"
LOGIN_URL = "/sign-in"
LOGIN_REDIRECT_URL = "/"

SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SECURE = PUBLIC_URL.startswith("https://")
CSRF_COOKIE_SECURE = SESSION_COOKIE_SECURE
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if PUBLIC_URL else None
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("es", "Español")]
USE_TZ = True
TIME_ZONE = "UTC"
STATIC_URL = "/static/"
STATIC_ROOT = HOME / "static"
SERVESTATIC_USE_FINDERS = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATA_UPLOAD_MAX_MEMORY_SIZE = 20 * 1024 * 1024

PROCRASTINATE_AUTODISCOVER_MODULE_NAME = "tasks"

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "json": {
            "()": structlog.stdlib.ProcessorFormatter,
            "processor": structlog.processors.JSONRenderer(ensure_ascii=False),
            # For what libraries log: their level and, in text, their traceback.
            "foreign_pre_chain": [
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.format_exc_info,
            ],
        }
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
    "root": {"handlers": ["stderr"], "level": os.environ.get("REGULARS_LOG_LEVEL", "WARNING")},
    "loggers": {"regulars": {"level": os.environ.get("REGULARS_LOG_LEVEL", "INFO")}},
}
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    ],
    logger_factory=structlog.stdlib.LoggerFactory(),
    cache_logger_on_first_use=False,
)
