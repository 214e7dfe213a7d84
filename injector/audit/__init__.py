"""Reports for people who must be able to check them: who spoke to whom, and how that is proved.

    store          the collected ledgers, read as streams; each chain is followed and every break told
    join           the two ends' records of one connection, found by the value that both exported from the TLS session
    mtls           how each pair of workloads spoke, every plaintext path, what only one side says
    certs          every certificate, and serials that the issuer does not know
    egress         which external hosts each workload reached, and which it was refused
    coverage       what no ledger can tell, from the cluster
    document       a report as titles, figures and tables; as_text, as_csv and as_html render it, so that all agree

Evidence decides, not configuration: a connection is mTLS if its records say so, and proved if both ends say the same.
"""
