"""Floor 2: trio, sockets and TLS. Streams here have the interface of trio.abc.HalfCloseableStream, so that the recipes run on
memory streams under a virtual clock as well."""
