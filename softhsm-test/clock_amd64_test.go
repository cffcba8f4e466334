package softhsmtest_test

import (
	"bytes"
	"debug/elf"
	bits "encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// wallClock is the wall clock of a process of its own, which can be set as that of a
// host is: its monotonic clock and its timers go on.
//
// The product has no hook for it. Programs read the clock without a system call, by
// code that the kernel maps into each of them (vDSO, vdso(7)). In the process this code
// is replaced by a few instructions that make the system call and add so many seconds
// to what it says, before its first instruction is run.
type wallClock struct {
	memory *os.File
	at     int64 // where the seconds are
}

// clockGettime takes the clock in EDI and the place for the time in RSI, as
// clock_gettime(2). The seconds that are added come right after it.
var clockGettime = []byte{
	0xB8, 228, 0, 0, 0, // mov eax, SYS_clock_gettime
	0x0F, 0x05, // syscall
	0x85, 0xFF, // test edi, edi
	0x75, 10, // jnz to ret: only CLOCK_REALTIME, which is 0, is set
	0x48, 0x8B, 0x15, 6, 0, 0, 0, // mov rdx, [rip+6]
	0x48, 0x01, 0x16, // add [rsi], rdx
	0xC3, 0x90, 0x90, // ret, and to where eight bytes are written at once
}

// startWithClock starts a process with a clock that can be set.
func startWithClock(c *exec.Cmd) (*wallClock, error) {
	// The thread that starts it is its tracer.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	c.SysProcAttr = &syscall.SysProcAttr{Ptrace: true} // it stops before its first instruction
	if err := c.Start(); err != nil {
		return nil, err
	}
	pid := c.Process.Pid
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &status, 0, nil); err != nil || !status.Stopped() {
		return nil, fmt.Errorf("the process does not stop at its start: %v, %w", status, err)
	}
	w, err := replaceClock(pid)
	return w, errors.Join(err, syscall.PtraceDetach(pid))
}

func replaceClock(pid int) (*wallClock, error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return nil, err
	}
	found := regexp.MustCompile(`(?m)^([0-9a-f]+)-([0-9a-f]+) .*\[vdso\]$`).FindSubmatch(maps)
	if found == nil {
		return nil, errors.New("the process has no vDSO")
	}
	from, err := strconv.ParseInt(string(found[1]), 16, 64)
	if err != nil {
		return nil, err
	}
	to, err := strconv.ParseInt(string(found[2]), 16, 64)
	if err != nil {
		return nil, err
	}
	memory, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	image := make([]byte, to-from)
	if _, err := memory.ReadAt(image, from); err != nil {
		return nil, err
	}
	object, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return nil, err
	}
	symbols, err := object.DynamicSymbols()
	if err != nil {
		return nil, err
	}
	for _, s := range symbols {
		if s.Name != "__vdso_clock_gettime" {
			continue
		}
		if s.Size < uint64(len(clockGettime)+8) {
			return nil, errors.New("the vDSO's clock_gettime has no room for another")
		}
		at := from + int64(s.Value)
		_, err := memory.WriteAt(append(clockGettime[:len(clockGettime):len(clockGettime)], make([]byte, 8)...), at)
		return &wallClock{memory: memory, at: at + int64(len(clockGettime))}, err
	}
	return nil, errors.New("the vDSO has no clock_gettime")
}

// set has the clock be ahead of the host's by so much, or behind it.
func (w *wallClock) set(t *testing.T, ahead time.Duration) {
	t.Helper()
	seconds := bits.LittleEndian.AppendUint64(nil, uint64(ahead/time.Second))
	if _, err := w.memory.WriteAt(seconds, w.at); err != nil {
		t.Fatal(err)
	}
}
