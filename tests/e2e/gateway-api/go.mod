// The definitions of the Gateway API and the manifests of its conformance tests; nothing of it is built.
module bartizan.dev/tests/e2e/gateway-api

go 1.26.0

require sigs.k8s.io/gateway-api v1.4.1
