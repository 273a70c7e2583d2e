// Package sample has every kind of operator in which a mistake is made.
package sample

import "time"

const limit = 1<<4 - 1 // a constant that is declared stays as it is

func clamp(n int) int {
	if n < 0 || n > limit {
		return -n % 7
	}
	n--
	return n*2 + 3/1
}

func wait(n uint8) time.Duration {
	var steps [1 + 1]time.Duration
	steps[0] = 25 * time.Millisecond
	return steps[0]<<(n-1) + time.Duration(uint8(1<<8-1))
}

func unused(a, b float64) bool { return a/b >= 1 || a == b }
