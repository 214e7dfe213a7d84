"""The issuer: the certificate authority of the mesh, and everything that is needed to trust it.

    cli  cli_init  server               the operator's verbs; configuration and the HTTPS endpoint
    issuer  holders                     a call becomes a certificate, or a refusal that says why; who is ready for another root
    csr_signer                          the same for a CertificateSigningRequest of Kubernetes
    trust  bundle                       what is published
    rotation  revocation                one root after the other; who is refused although its certificate has not ended
    authenticate  token_review          who asks: by published keys, or by the API server (`kubernetes`); `sources` says which
    request  rate_limit                 for which key, how often
    log                                 what was issued, line chained to line
    files  secret_store  own_root       the directory of keys, certificates and log; a Secret; what was made elsewhere
    profile                             what a leaf looks like
    ca                                  root and intermediates

Imports point down only. What a requester chooses ends up in a certificate in one place: its public key.
"""
