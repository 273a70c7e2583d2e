package ops_test

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(withBrowser{m}) }

// withBrowser are tests that share a browser, which ends after the last of them.
type withBrowser struct{ *testing.M }

// Run runs the tests.
func (m withBrowser) Run() int {
	code := m.M.Run()
	if shared.browser != nil {
		shared.browser.close()
	}
	return code
}
