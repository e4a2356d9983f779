//go:build !race

package testmemory

const race = false
