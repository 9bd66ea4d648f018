"""Fetch a package from an archive that asks for a client certificate.

usage: fetch.py URL SHA256 BYTES OUTPUT

Certificate, key and the authorities of the archive, if it has its own, lie in /.secrets. What it prints names no host.
"""
import hashlib
import http.client
import os
import ssl
import sys
import urllib.error
import urllib.parse
import urllib.request

SECRETS = os.environ.get("SECRETS", "/.secrets")
CHUNK = 1 << 20


class SameScheme(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but never to where nobody checks who answers."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        if urllib.parse.urlsplit(newurl).scheme != "https":
            raise urllib.error.URLError("a redirect to where nothing is encrypted")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def main():
    url, digest, size, output = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
    authorities = os.path.join(SECRETS, "ca.pem")
    try:
        context = ssl.create_default_context(cafile=authorities if os.path.exists(authorities) else None)
        context.load_cert_chain(os.path.join(SECRETS, "cert.pem"), os.path.join(SECRETS, "key.pem"))
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context), SameScheme())
        with opener.open(url, timeout=60) as answer:
            found = copy(answer, size, output)
    except urllib.error.HTTPError as e:
        return f"status {e.code}"
    except urllib.error.URLError as e:
        return reason(e.reason)
    except (OSError, http.client.HTTPException) as e:
        return reason(e)
    return None if found == digest else "digest mismatch"


def copy(answer, size, output):
    """Copy at most one byte more than there should be, and return the sum of it."""
    sum_, left = hashlib.sha256(), size + 1
    with open(output, "wb") as f:
        while left and (chunk := answer.read(min(CHUNK, left))):
            sum_.update(chunk)
            f.write(chunk)
            left -= len(chunk)
    if left > 1:
        raise OSError("unexpected EOF")
    return sum_.hexdigest()


def reason(error):
    if isinstance(error, ssl.SSLError):
        return "TLS: " + (getattr(error, "verify_message", "") or error.reason or "it failed").lower().replace("_", " ")
    if isinstance(error, http.client.IncompleteRead):
        return "unexpected EOF"
    if isinstance(error, OSError) and error.strerror and error.errno:
        return "no such host" if error.errno in (-2, -3, -5) else error.strerror.lower()
    return str(error)


sys.exit(main())
