//go:build tools

// Package tools pins kubectl, which the tests drive.
package tools

import _ "k8s.io/kubernetes/cmd/kubectl"
