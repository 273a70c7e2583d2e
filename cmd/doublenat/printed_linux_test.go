package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// teller is a shell in a network of its own, with nothing but loopback, to which commands are
// told one by one.
type teller struct {
	in  *bufio.Writer
	out *bufio.Reader
}

// tellerScript runs what it reads, one command a line, and ends each answer with its exit code.
// A lab is a command that goes on until Ctrl-C, which it gets when it invites; what the lab before
// it wrote is gone by then, or that would be taken for the invitation.
const tellerScript = `
ip link set lo up || exit 9
set -m
await() { for i in $(seq 600); do grep -q 'the doctor' "$1" && return; kill -0 $2 || return; sleep 0.1; done; }
while IFS= read -r line; do
	case $line in
	"lab "*) : >lab.out; bash -c "${line#lab }" >lab.out 2>&1 & lab=$!; await lab.out $lab; kill -INT -- -$lab; wait $lab; code=$?; cat lab.out;;
	"open "*) : >open.out; bash -c "${line#open }" >open.out 2>&1 & open=$!; await open.out $open; code=0; cat open.out;;
	close) kill -INT -- -$open; wait $open; code=$?; cat open.out;;
	"endless "*) timeout -s INT 1 bash -c "${line#endless }" 2>&1; code=$?; [ $code = 124 ] && code=0;;
	*) timeout 60 bash -c "$line" </dev/null 2>&1; code=$?;;
	esac
	printf '\n\001%d\n' "$code"
done
`

// newTeller starts the shell at the top of the repository.
func newTeller(t *testing.T) *teller {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	top, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	script := strings.NewReplacer("lab.out", dir+"/lab.out", "open.out", dir+"/open.out").Replace(tellerScript)
	cmd := exec.CommandContext(t.Context(), "bash", "-c", script)
	cmd.Dir, cmd.Stderr = top, t.Output()
	cmd.Env = append(os.Environ(), "PATH="+linked(t, self)+":"+os.Getenv("PATH"))
	in, errIn := cmd.StdinPipe()
	out, errOut := cmd.StdoutPipe()
	if errIn != nil || errOut != nil {
		t.Fatal(errIn, errOut)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
	}
	if err := cmd.Start(); err != nil {
		missing(t, fmt.Sprintf("the right to make a network namespace (%v)", err))
	}
	t.Cleanup(func() {
		_ = in.Close() // which ends it
		_ = cmd.Wait()
	})
	return &teller{in: bufio.NewWriter(in), out: bufio.NewReader(out)}
}

// tell runs a command and returns what it wrote, and its exit code.
func (s *teller) tell(t *testing.T, line string) (text string, code int) {
	t.Helper()
	_, _ = s.in.WriteString(line + "\n") // Flush says so
	if err := s.in.Flush(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	defer func() { t.Logf("%v: %s", time.Since(began).Round(time.Millisecond), line) }()
	var out strings.Builder
	for {
		got, err := s.out.ReadString('\n')
		if err != nil {
			t.Fatalf("%s: the shell has ended: %v\n%s", line, err, &out)
		}
		if number, ends := strings.CutPrefix(got, "\x01"); ends {
			code, err = strconv.Atoi(strings.TrimSpace(number))
			if err != nil {
				t.Fatal(err)
			}
			return out.String(), code
		}
		out.WriteString(got)
	}
}

// local says whether a command of the documents finds all that it needs in a lab, whose settings
// it gets. The others are about the reader's own gateway and hosts, or go on for ever.
func local(c printed, args []string) bool {
	if len(args) == 0 || strings.Contains(c.text, "VPN_GATEWAY=") || strings.Contains(c.text, "HTTP_ADDR=") {
		return false
	}
	return !slices.Contains([]string{"serve", "map", "unmap", "address"}, args[0])
}

// TestPrintedCommandsRun runs what the documents and the lab print, as they print it, in a network
// of its own: the labs first, then the rest beside the lab that README tells to run, whose
// settings the commands of the documents get.
func TestPrintedCommandsRun(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"bash", "ip"} {
		if _, err := exec.LookPath(program); err != nil {
			missing(t, "the program "+program)
		}
	}
	shell := newTeller(t)
	var labs, others []string
	for _, c := range printedCommands(t, filepath.Join("..", "..")) {
		args, ours := c.arguments()
		if !ours || !local(c, args) || !c.complete(t, args) {
			continue
		}
		switch {
		case slices.Contains(labs, c.text) || slices.Contains(others, c.text):
		case args[0] == "lab":
			labs = append(labs, c.text)
		default:
			others = append(others, c.text)
		}
	}
	if len(labs) < 2 || len(others) < 5 {
		t.Errorf("%q and %q: the documents are not looked at", labs, others)
	}
	for _, lab := range labs {
		how := "lab "
		if strings.Contains(lab, "--demo") || strings.Contains(lab, "--help") {
			how = ""
		}
		if out, code := shell.tell(t, how+lab); !endsWell(lab, out, code) {
			t.Errorf("%s: exit code %d:\n%s", lab, code, out)
		}
	}
	const readme = "go run ./cmd/doublenat lab"
	invitation, _ := shell.tell(t, "open "+readme)
	settings := labCommands(t, shell, invitation)
	for _, command := range others {
		line := settings + " " + command
		if strings.Contains(command, "--watch") {
			line = "endless " + line
		}
		if out, code := shell.tell(t, line); code != 0 {
			t.Errorf("%s: exit code %d:\n%s", command, code, out)
		}
	}
	if out, code := shell.tell(t, "close"); !endsWell(readme, out, code) {
		t.Errorf("the lab ended with %d:\n%s", code, out)
	}
}

// endsWell says whether a lab left nothing behind. One that go run runs ends with 1 by Ctrl-C,
// whatever the lab says.
func endsWell(command, out string, code int) bool {
	well := regexp.MustCompile(`no (\w+ and no )?rule is left`).MatchString(out)
	return well && !strings.Contains(out, "✗") && (code == 0 || code == 1 && strings.HasPrefix(command, "go run "))
}

// labCommands runs what the lab invites to, and returns the settings of its daemon.
func labCommands(t *testing.T, shell *teller, invitation string) (settings string) {
	t.Helper()
	_, invitation, _ = strings.Cut(invitation, "in another terminal:")
	ran := 0
	for line := range strings.Lines(invitation) {
		command := strings.TrimSpace(line)
		if len(line) > 21 {
			command = strings.TrimSpace(line[21:]) // behind the column of names
		}
		program := regexp.MustCompile(`[a-z0-9]+`).FindString(command[len(assignments.FindString(command)):])
		if command == "" || strings.HasSuffix(command, "in a browser") {
			continue
		}
		if _, err := exec.LookPath(program); err != nil && program != "go" {
			t.Logf("%s is not here: %s", program, command)
			continue
		}
		how := ""
		if program == "python3" {
			how = "endless " // it serves until Ctrl-C
		}
		out, code := shell.tell(t, how+command)
		if code != 0 {
			t.Errorf("%s: exit code %d:\n%s", command, code, out)
		}
		if program == "go" {
			ran++
		}
		if before, found := strings.CutSuffix(command, "go run ./cmd/doublenat check"); found {
			settings = before
			if !strings.Contains(out, "rules of the instance lab") {
				t.Errorf("%s:\n%s", command, out)
			}
		}
		if page, found := strings.CutPrefix(command, "go run ./cmd/doublenat status --addr "); found {
			defer func() { settings += " HTTP_ADDR=" + page }()
		}
	}
	if ran < 5 || settings == "" {
		t.Errorf("%d commands of the lab were run:\n%s", ran, invitation)
	}
	return settings
}
