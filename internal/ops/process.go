package ops

import (
	"os"
	"runtime"
	"strconv"
	"strings"
)

// processMetrics are what Prometheus' own clients show of every program, under the
// same names, as far as it is worth anything here.
func processMetrics() []Metric {
	return []Metric{
		gauge(MetricGoroutines, "Number of goroutines that currently exist.", func(scrape) float64 { return float64(runtime.NumGoroutine()) }),
		{Name: MetricMemory, Help: "Resident memory size in bytes; only where there is /proc.", read: func(scrape) []point {
			size, ok := resident()
			if !ok {
				return nil
			}
			return []point{{value: size}}
		}},
	}
}

// resident returns how much memory the process has, as Linux counts it.
func resident() (bytes float64, ok bool) {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, false
	}
	fields := strings.Fields(string(text)) // size and resident, in pages
	if len(fields) < 2 {
		return 0, false
	}
	pages, err := strconv.ParseUint(fields[1], 10, 64)
	return float64(pages) * float64(os.Getpagesize()), err == nil
}
