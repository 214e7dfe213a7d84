"""A client of SMTP that knows nothing of TLS: HOST PORT, and a letter on standard input. Prints the extensions that it was offered."""

import smtplib
import sys

host, port = sys.argv[1], int(sys.argv[2])
with smtplib.SMTP(host, port, timeout=20) as client:
    client.sendmail("web@shop.example", ["all@partner.example"], sys.stdin.read())
    print(*sorted(client.esmtp_features))
