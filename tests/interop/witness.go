// Asks a witness for cosignatures as any C2SP log does, with Go's own sumdb packages, unmodified:
// golang.org/x/mod/sumdb/note signs and verifies, golang.org/x/mod/sumdb/tlog makes hashes and proofs.
//
// Usage: witness key ORIGIN KEYFILE          makes a log's key; prints its verifier key
//
//	witness ask KEYFILE WITNESS-VKEY URL  has a log of growing size cosigned, refreshed, refused
//
// Exit status 0 means that the witness answered as C2SP tlog-witness has it.
package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"

	"crypto/sha256"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func want(ok bool, format string, args ...any) {
	if !ok {
		check(fmt.Errorf(format, args...))
	}
}

// cosigner verifies cosignature/v1 lines (C2SP tlog-cosignature), which note.NewVerifier does not know.
type cosigner struct {
	name string
	hash uint32
	key  ed25519.PublicKey
}

func newCosigner(vkey string) cosigner {
	parts := strings.SplitN(vkey, "+", 3)
	want(len(parts) == 3, "malformed witness key")
	blob, err := base64.StdEncoding.DecodeString(parts[2])
	check(err)
	want(len(blob) == 33 && blob[0] == 4, "the witness's key is not of type 0x04")
	sum := sha256.Sum256(append([]byte(parts[0]+"\n"), blob...))
	hash := binary.BigEndian.Uint32(sum[:4])
	want(fmt.Sprintf("%08x", hash) == parts[1], "the witness's key id is not its own")
	return cosigner{parts[0], hash, blob[1:]}
}

func (c cosigner) Name() string    { return c.name }
func (c cosigner) KeyHash() uint32 { return c.hash }
func (c cosigner) Verify(msg, sig []byte) bool {
	if len(sig) != 8+ed25519.SignatureSize {
		return false
	}
	time := binary.BigEndian.Uint64(sig)
	signed := fmt.Sprintf("cosignature/v1\ntime %d\n%s", time, msg)
	return ed25519.Verify(c.key, []byte(signed), sig[8:])
}

// A log in memory.
type log struct {
	origin string
	signer note.Signer
	hashes []tlog.Hash
	size   int64
	story  string
}

func (l *log) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	var out []tlog.Hash
	for _, i := range indexes {
		out = append(out, l.hashes[i])
	}
	return out, nil
}

func (l *log) grow(size int64) {
	for ; l.size < size; l.size++ {
		more, err := tlog.StoredHashes(l.size, []byte(fmt.Sprintf("%s %d", l.story, l.size)), l)
		check(err)
		l.hashes = append(l.hashes, more...)
	}
}

// head is the signed checkpoint of a size.
func (l *log) head(size int64) []byte {
	l.grow(size)
	root, err := tlog.TreeHash(size, l)
	check(err)
	text := fmt.Sprintf("%s\n%d\n%s\n", l.origin, size, base64.StdEncoding.EncodeToString(root[:]))
	signed, err := note.Sign(&note.Note{Text: text}, l.signer)
	check(err)
	return signed
}

func (l *log) request(old, size int64) []byte {
	head := l.head(size)
	var out bytes.Buffer
	fmt.Fprintf(&out, "old %d\n", old)
	if old > 0 && old < size {
		proof, err := tlog.ProveTree(size, old, l)
		check(err)
		for _, hash := range proof {
			fmt.Fprintln(&out, base64.StdEncoding.EncodeToString(hash[:]))
		}
	}
	out.WriteString("\n")
	out.Write(head)
	return out.Bytes()
}

func post(url string, body []byte) (int, string, []byte) {
	reply, err := http.Post(url+"/add-checkpoint", "application/octet-stream", bytes.NewReader(body))
	check(err)
	defer reply.Body.Close()
	bytes, err := io.ReadAll(reply.Body)
	check(err)
	return reply.StatusCode, reply.Header.Get("Content-Type"), bytes
}

func ask(signer note.Signer, witness cosigner, logKey note.Verifier, url string) {
	honest := &log{origin: signer.Name(), signer: signer, story: "a"}
	known := int64(0)
	for _, size := range []int64{1, 2, 3, 8, 8, 13, 256, 257, 1000} {
		status, _, reply := post(url, honest.request(known, size))
		want(status == 200, "size %d: status %d: %s", size, status, reply)
		// As the specification has it: the reply behind the checkpoint makes a note of two known signatures.
		opened, err := note.Open(append(honest.head(size), reply...), note.VerifierList(logKey, witness))
		check(err)
		want(len(opened.Sigs) == 2 && len(opened.UnverifiedSigs) == 0, "size %d: %d signatures", size, len(opened.Sigs))
		known = size
	}
	status, media, reply := post(url, honest.request(0, 1000))
	size, err := strconv.ParseInt(strings.TrimSuffix(string(reply), "\n"), 10, 64)
	want(err == nil && status == 409 && media == "text/x.tlog.size" && size == known, "stale: %d %q %q", status, media, reply)
	forked := &log{origin: signer.Name(), signer: signer, story: "b"}
	for _, size := range []int64{1000, 1200} {
		status, _, reply := post(url, forked.request(known, size))
		want(status == 422, "fork to %d: status %d: %s", size, status, reply)
	}
	skey, _, err := note.GenerateKey(rand.Reader, signer.Name())
	check(err)
	stranger, err := note.NewSigner(skey)
	check(err)
	status, _, reply = post(url, (&log{origin: signer.Name(), signer: stranger, story: "a"}).request(known, 1200))
	want(status == 403, "another key: status %d: %s", status, reply)
	status, _, reply = post(url, (&log{origin: "unknown.example", signer: signer, story: "a"}).request(0, 1))
	want(status == 404, "unknown log: status %d: %s", status, reply)
	status, _, reply = post(url, honest.request(1200, 1000))
	want(status == 400, "old size too large: status %d: %s", status, reply)
	// What monitors read is the newest head with both signatures.
	got, err := http.Get(fmt.Sprintf("%s/%x/checkpoint", url, sha256.Sum256([]byte(signer.Name()))))
	check(err)
	newest, err := io.ReadAll(got.Body)
	check(err)
	opened, err := note.Open(newest, note.VerifierList(logKey, witness))
	check(err)
	want(len(opened.Sigs) == 2 && strings.HasPrefix(opened.Text, signer.Name()+"\n1000\n"), "monitors read %q", opened.Text)
	fmt.Println("cosigned", signer.Name(), "by", witness.name, "at", known)
}

func main() {
	switch {
	case len(os.Args) == 4 && os.Args[1] == "key":
		skey, vkey, err := note.GenerateKey(rand.Reader, os.Args[2])
		check(err)
		check(os.WriteFile(os.Args[3], []byte(skey+"\n"+vkey+"\n"), 0o600))
		fmt.Println(vkey)
	case len(os.Args) == 5 && os.Args[1] == "ask":
		keys, err := os.ReadFile(os.Args[2])
		check(err)
		lines := strings.Split(string(keys), "\n")
		signer, err := note.NewSigner(lines[0])
		check(err)
		verifier, err := note.NewVerifier(lines[1])
		check(err)
		ask(signer, newCosigner(os.Args[3]), verifier, os.Args[4])
	default:
		fmt.Fprintln(os.Stderr, "usage: witness key ORIGIN KEYFILE | witness ask KEYFILE WITNESS-VKEY URL")
		os.Exit(2)
	}
}
