//go:build nano

package cli

import "context"

// demoMesh is nothing in the small build, which has no mesh.
func demoMesh(context.Context, *output) error { return nil }
