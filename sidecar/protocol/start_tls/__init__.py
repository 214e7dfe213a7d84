"""How TLS is asked for in the words of another protocol, before it begins: what each says and what each must hear.

    postgres   the client speaks first, one byte answers
    smtp       the server greets, and offers TLS among other things
    mysql      the server greets and offers TLS; the client's packets are numbered, and one is added

Readers get all that has arrived. They answer None while more is needed, and raise ValueError for anything but what is expected and
for bytes behind it: what a stranger puts between an answer and TLS must never be taken for something that came through TLS
(CVE-2011-0411, CVE-2021-23222).
"""
