package config_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/config"
)

func TestParseWarnings(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		pairs []string
		want  []string
	}{
		{"a letter missing", []string{"MIKROTIK_API_PASWORD", "s3cret"}, []string{
			"MIKROTIK_API_PASWORD is not a variable of doublenat; did you mean MIKROTIK_API_PASSWORD?",
		}},
		{"letters swapped", []string{"LOG_LEEVL", "debug"}, []string{
			"LOG_LEEVL is not a variable of doublenat; did you mean LOG_LEVEL?",
		}},
		{"lower case", []string{"vpn_gateway", "10.2.0.1"}, []string{
			"vpn_gateway is not a variable of doublenat; did you mean VPN_GATEWAY?",
		}},
		{"a letter too many, in two names", []string{"LISTEN_ADDRS", "", "LOG_FORMATT", ""}, []string{
			"LISTEN_ADDRS is not a variable of doublenat; did you mean LISTEN_ADDR?",
			"LOG_FORMATT is not a variable of doublenat; did you mean LOG_FORMAT?",
		}},
		{"ours by its prefix", []string{"MIKROTIK_API_TIMEOUT", "3s"}, []string{
			"MIKROTIK_API_TIMEOUT is not a variable of doublenat and has no effect",
		}},
		{"somebody else's", []string{"INSTANCES", "1", "DISTANCE", "1", "VPN_GATEWAY_PORT", "1", "LOG", "1", strings.Repeat("A", 1<<16), "1"}, []string{
			"INSTANCES is not a variable of doublenat; did you mean INSTANCE?",
		}},
		{"password in the clear", []string{"MIKROTIK_API_ADDRESS", "8.8.8.8"}, []string{
			"MIKROTIK_API_ADDRESS is a public address and MIKROTIK_API_TLS is off: the password can be read on the way",
		}},
		{"public with TLS", []string{"MIKROTIK_API_ADDRESS", "8.8.8.8", "MIKROTIK_API_TLS", "1"}, nil},
		{"shared address", []string{"MIKROTIK_API_ADDRESS", "100.64.0.1"}, nil},
		{"password in quotes", []string{"MIKROTIK_API_PASSWORD", `"hunter2"`}, []string{
			"MIKROTIK_API_PASSWORD begins and ends with a quote, which is part of the password: leave the quotes out, unless the router's password has them",
		}},
		{"password in single quotes with a line end in it", []string{"MIKROTIK_API_PASSWORD", "'hunter\n2'"}, []string{
			"MIKROTIK_API_PASSWORD begins and ends with a quote, which is part of the password: leave the quotes out, unless the router's password has them",
			"MIKROTIK_API_PASSWORD has a line end in it, which is part of the password: was it read from a file? MIKROTIK_API_PASSWORD_FILE ignores the one at its end",
		}},
		{"password with a line end", []string{"MIKROTIK_API_PASSWORD", "hunter2\r"}, []string{
			"MIKROTIK_API_PASSWORD has a line end in it, which is part of the password: was it read from a file? MIKROTIK_API_PASSWORD_FILE ignores the one at its end",
		}},
		{"password with a byte order mark", []string{"MIKROTIK_API_PASSWORD", "\ufeffhunter2"}, []string{
			"MIKROTIK_API_PASSWORD begins with a byte order mark, which is part of the password: save the file that it comes from as UTF-8 without one",
		}},
		{"quote as a password", []string{"MIKROTIK_API_PASSWORD", `"`}, nil},
		{"quote in a password", []string{"MIKROTIK_API_PASSWORD", `"a`}, nil},
		{"loopback", []string{"MIKROTIK_API_ADDRESS", "::1"}, nil},
		{"a lease without a lock", []string{"LOCK_LEASE", "30s", "LOCK", "none"}, []string{"LOCK_LEASE has no effect without LOCK"}},
		{"a lock that changes nothing", []string{"LOCK", "router", "READ_ONLY", "on"}, []string{
			"READ_ONLY is set, so LOCK is not used: this doublenat only looks, and neither takes the lock nor waits for it",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := config.Parse(minimal(tt.pairs...), noFile)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got.Warnings); diff != "" {
				t.Error(diff)
			}
		})
	}
}
