//go:build race

package testmemory

const race = true
