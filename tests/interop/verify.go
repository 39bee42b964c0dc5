// Verifies a log directory with Go's own sumdb packages, unmodified:
// golang.org/x/mod/sumdb/note checks the head's signature,
// golang.org/x/mod/sumdb/tlog recomputes hashes through the tiles.
//
// Usage: verify VKEY LOGDIR
//
// It reads the head, every entry bundle and the tiles; recomputes every leaf hash from the entries;
// proves every entry (up to 2,000, spread evenly) included in the head, and every checked size
// consistent with it. Exit status 0 means accepted.
package main

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// C2SP tlog-tiles: groups of three digits, all but the last prefixed by x.
func number(n int64) string {
	path := fmt.Sprintf("%03d", n%1000)
	for n >= 1000 {
		n /= 1000
		path = fmt.Sprintf("x%03d/%s", n%1000, path)
	}
	return path
}

type reader struct{ dir string }

func (reader) Height() int { return 8 }

func (r reader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	out := make([][]byte, len(tiles))
	for i, t := range tiles {
		path := filepath.Join(r.dir, "tile", strconv.Itoa(t.L), number(t.N))
		data, err := os.ReadFile(path)
		if t.W < 256 && errors.Is(err, os.ErrNotExist) {
			data, err = os.ReadFile(path + ".p/" + strconv.Itoa(t.W))
		}
		if err != nil {
			return nil, err
		}
		if len(data) < t.W*tlog.HashSize {
			return nil, fmt.Errorf("%s is too short", path)
		}
		out[i] = data[:t.W*tlog.HashSize]
	}
	return out, nil
}

func (reader) SaveTiles([]tlog.Tile, [][]byte) {}

func entries(dir string, size int64) ([][]byte, error) {
	var out [][]byte
	for n := int64(0); n*256 < size; n++ {
		width := size - n*256
		if width > 256 {
			width = 256
		}
		path := filepath.Join(dir, "tile", "entries", number(n))
		data, err := os.ReadFile(path)
		if width < 256 && errors.Is(err, os.ErrNotExist) {
			data, err = os.ReadFile(path + ".p/" + strconv.FormatInt(width, 10))
		}
		if err != nil {
			return nil, err
		}
		for i := int64(0); i < width; i++ {
			if len(data) < 2 {
				return nil, fmt.Errorf("%s ends early", path)
			}
			length := int(binary.BigEndian.Uint16(data))
			if len(data) < 2+length {
				return nil, fmt.Errorf("%s ends early", path)
			}
			out = append(out, data[2:2+length])
			data = data[2+length:]
		}
	}
	return out, nil
}

func run(vkey, dir string) error {
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return err
	}
	signed, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	if err != nil {
		return err
	}
	head, err := note.Open(signed, note.VerifierList(verifier))
	if err != nil {
		return err
	}
	lines := strings.Split(head.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() {
		return fmt.Errorf("not a checkpoint of %s: %q", verifier.Name(), head.Text)
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return err
	}
	raw, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || len(raw) != tlog.HashSize {
		return fmt.Errorf("bad root %q", lines[2])
	}
	tree := tlog.Tree{N: size}
	copy(tree.Hash[:], raw)
	hashes := tlog.TileHashReader(tree, reader{dir})
	root, err := tlog.TreeHash(size, hashes)
	if err != nil {
		return err
	}
	if root != tree.Hash {
		return errors.New("the tiles do not make up the signed root")
	}
	all, err := entries(dir, size)
	if err != nil {
		return err
	}
	step := size/2000 + 1
	for i := int64(0); i < size; i++ {
		leaf := tlog.RecordHash(all[i])
		stored, err := hashes.ReadHashes([]int64{tlog.StoredHashIndex(0, i)})
		if err != nil {
			return err
		}
		if stored[0] != leaf {
			return fmt.Errorf("entry %d does not have the leaf hash of its tile", i)
		}
		if i%step != 0 {
			continue
		}
		proof, err := tlog.ProveRecord(size, i, hashes)
		if err != nil {
			return err
		}
		if err := tlog.CheckRecord(proof, size, tree.Hash, i, leaf); err != nil {
			return fmt.Errorf("entry %d: %w", i, err)
		}
		older, err := tlog.TreeHash(i+1, hashes)
		if err != nil {
			return err
		}
		consistency, err := tlog.ProveTree(size, i+1, hashes)
		if err != nil {
			return err
		}
		if err := tlog.CheckTree(consistency, size, tree.Hash, i+1, older); err != nil {
			return fmt.Errorf("size %d: %w", i+1, err)
		}
	}
	fmt.Printf("accepted: %s, %d entries\n", verifier.Name(), size)
	return nil
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: verify VKEY LOGDIR")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "refused:", err)
		os.Exit(1)
	}
}
