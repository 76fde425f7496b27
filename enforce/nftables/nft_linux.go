package nftables

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// runNFT runs nft with a script on its standard input.
//
// The script is a file in memory that is complete when nft starts: half of one
// that came through a pipe could be a valid script too. If this process ends,
// nft does: it must not apply an old policy after the next process applied a
// new one.
func runNFT(ctx context.Context, program string, script []byte, args ...string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	in, err := memoryFile("script", script)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := memoryFile("output", nil)
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // and what it started
	// The death signal is sent when the thread ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err = cmd.Run(); err == nil {
		return nil
	}
	if ctxErr := ctx.Err(); ctxErr != nil {
		err = ctxErr
	}
	const most = 1 << 16
	said, readErr := io.ReadAll(io.NewSectionReader(out, 0, most))
	return errors.Join(&outputError{err, string(bytes.TrimSpace(said))}, readErr)
}

// memoryFile is a file that is on no disk, with its offset at the beginning.
func memoryFile(name string, content []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("nft "+name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), name)
	if _, err := f.WriteAt(content, 0); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}
