//go:build !linux

package main

// forgetProgram does what only Linux can.
func forgetProgram() {}
