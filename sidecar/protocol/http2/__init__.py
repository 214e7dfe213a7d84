"""HTTP/2 from bytes to judged heads and back: a small strict engine of our own, without I/O.

    frames         layout, names, limits, and the one error that ends a connection
    header_block   compression; the library hpack lives here
    flood          budgets for what costs the sender nothing
    flow           receive windows, credited as the recipe consumes
    events         what the engine tells
    engine         the connection, either role
"""
