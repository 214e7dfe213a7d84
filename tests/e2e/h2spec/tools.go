//go:build tools

// Holds the version of h2spec, and of what it is made of: `go build github.com/summerwind/h2spec/cmd/h2spec`.
package h2spec

import _ "github.com/summerwind/h2spec/cmd/h2spec"
