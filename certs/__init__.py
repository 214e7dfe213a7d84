"""The issuer: the certificate authority of the mesh, and everything that is needed to trust it.

    cli  server                         the operator's verbs; configuration and the HTTPS endpoint
    issuer                              a call becomes a certificate, or a refusal that says why
    authenticate  request  rate_limit   who asks, for which key, how often
    log                                 what was issued, line chained to line
    files                               the directory of keys, certificates and log
    profile                             what a leaf looks like
    ca                                  root and intermediates

Imports point down only. What a requester chooses ends up in a certificate in one place: its public key.
"""
