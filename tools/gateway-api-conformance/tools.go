//go:build tools

// Package conformance pins the suite's backend, too, and the custom resources' definitions.
package conformance

import (
	_ "sigs.k8s.io/gateway-api-conformance-images/echo-basic"
	_ "sigs.k8s.io/gateway-api/pkg/consts"
)
