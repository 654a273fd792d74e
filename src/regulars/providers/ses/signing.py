"""Signs requests as AWS wants them (Signature Version 4), by AWS's own library."""

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from regulars.providers.ses.options import SesOptions

SERVICE = "ses"


class Signer:
    """Signs for one account."""

    def __init__(self, options: SesOptions) -> None:
        key = Credentials(options.access_key_id, options.secret_access_key.get_secret_value())
        self._signature = SigV4Auth(key, SERVICE, options.region)

    def headers(self, method: str, url: str, body: bytes = b"") -> dict[str, str]:
        """The headers to add to a request for `url` that carries exactly these bytes.

        By this machine's clock: AWS refuses what is more than five minutes off.
        """
        request = AWSRequest(method, url, data=body)
        self._signature.add_auth(request)
        return {name.lower(): value for name, value in request.headers.items()}
