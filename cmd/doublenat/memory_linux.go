package main

import (
	"bufio"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// forgetProgram takes the pages of the program's own file out of this process that are
// not written to. What is used of them comes back by itself, from the system's cache or
// from the file, and that is a small part: the start alone touches most of the rest. The
// system may forget pages sooner that no process has.
func forgetProgram() {
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		return
	}
	defer maps.Close()
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		if first, size, ok := readOnlyPart(lines.Text(), program); ok {
			// An error leaves everything as it is.
			_, _, _ = syscall.Syscall(syscall.SYS_MADVISE, first, size, syscall.MADV_DONTNEED)
		}
	}
}

// readOnlyPart reads a line of /proc/self/maps, see proc_pid_maps(5). It returns where the
// part of memory is if it is one of the program's file that cannot be written to.
func readOnlyPart(line, program string) (first, size uintptr, ok bool) {
	fields := strings.Fields(line)
	if len(fields) != 6 || fields[5] != program || strings.Contains(fields[1], "w") || !strings.HasSuffix(fields[1], "p") {
		return 0, 0, false
	}
	from, to, _ := strings.Cut(fields[0], "-")
	start, err := strconv.ParseUint(from, 16, strconv.IntSize)
	if err != nil {
		return 0, 0, false
	}
	end, err := strconv.ParseUint(to, 16, strconv.IntSize)
	if err != nil || end <= start {
		return 0, 0, false
	}
	return uintptr(start), uintptr(end - start), true
}
