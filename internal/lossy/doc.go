// Package lossy has a writer for logs that never makes its user wait. What the
// writer below takes too slowly, or not at all, is dropped and counted.
package lossy
