package main

import (
	"errors"
	"flag"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"
)

// sideBySide is how many tests run at a time, whatever the number of cores: most of them
// wait for an answer that does not come, as a user would.
const sideBySide = "8"

// leakChecked runs the tests and then looks for goroutines that are left.
type leakChecked struct{ m *testing.M }

// Run returns the tests' exit code, or 1 when a goroutine was left behind.
func (c leakChecked) Run() int {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		if err := flag.Set("test.parallel", sideBySide); err != nil {
			panic(err)
		}
	}
	code := c.m.Run()
	if err := goleak.Find(); code == 0 && err != nil {
		panic(errors.Join(errors.New("goroutines left behind"), err))
	}
	return code
}

func TestMain(m *testing.M) {
	testscript.Main(leakChecked{m}, map[string]func(){"doublenat": main})
}

// TestBinary runs the command as users do, by the scripts in testdata.
func TestBinary(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{Dir: "testdata", RequireExplicitExec: true})
}
