// An application in Go, with github.com/miekg/pkcs11: keys found, GCM, signatures from many goroutines.
//
//	main <module>
package main

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"fmt"
	"math/big"
	"os"
	"sync"

	"github.com/miekg/pkcs11"
)

func must(err error, what string) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "WRONG:", what+":", err)
		os.Exit(1)
	}
}

func check(right bool, what string) {
	if !right {
		fmt.Fprintln(os.Stderr, "WRONG:", what)
		os.Exit(1)
	}
	fmt.Println("ok:", what)
}

func open(p *pkcs11.Ctx, slot uint) pkcs11.SessionHandle {
	session, err := p.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	must(err, "OpenSession")
	return session
}

func find(p *pkcs11.Ctx, session pkcs11.SessionHandle, class uint, label string) pkcs11.ObjectHandle {
	must(p.FindObjectsInit(session, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_CLASS, class), pkcs11.NewAttribute(pkcs11.CKA_LABEL, label)}), "FindObjectsInit")
	found, _, err := p.FindObjects(session, 2)
	must(err, "FindObjects")
	must(p.FindObjectsFinal(session), "FindObjectsFinal")
	check(len(found) == 1, "one "+label)
	return found[0]
}

func rsaKey(p *pkcs11.Ctx, session pkcs11.SessionHandle, key pkcs11.ObjectHandle) *rsa.PublicKey {
	got, err := p.GetAttributeValue(session, key, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_MODULUS, nil), pkcs11.NewAttribute(pkcs11.CKA_PUBLIC_EXPONENT, nil)})
	must(err, "GetAttributeValue")
	return &rsa.PublicKey{N: new(big.Int).SetBytes(got[0].Value), E: int(new(big.Int).SetBytes(got[1].Value).Int64())}
}

func ecKey(p *pkcs11.Ctx, session pkcs11.SessionHandle, key pkcs11.ObjectHandle) *ecdsa.PublicKey {
	got, err := p.GetAttributeValue(session, key, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_EC_POINT, nil)})
	must(err, "GetAttributeValue")
	x, y := elliptic.Unmarshal(elliptic.P256(), got[0].Value[2:])
	return &ecdsa.PublicKey{Curve: elliptic.P256(), X: x, Y: y}
}

func sign(p *pkcs11.Ctx, session pkcs11.SessionHandle, mechanism *pkcs11.Mechanism, key pkcs11.ObjectHandle, data []byte) []byte {
	must(p.SignInit(session, []*pkcs11.Mechanism{mechanism}, key), "SignInit")
	signature, err := p.Sign(session, data)
	must(err, "Sign")
	return signature
}

func tryGCM(p *pkcs11.Ctx, session pkcs11.SessionHandle) {
	key, text, nonce := find(p, session, pkcs11.CKO_SECRET_KEY, "aes"), []byte("a text to be kept secret"), make([]byte, 12)
	gcm := func() []*pkcs11.Mechanism {
		return []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_GCM, pkcs11.NewGCMParams(nonce, []byte("header"), 128))}
	}

	_, err := rand.Read(nonce)
	must(err, "rand.Read")
	must(p.EncryptInit(session, gcm(), key), "EncryptInit")
	sealed, err := p.Encrypt(session, text)
	must(err, "Encrypt")
	must(p.DecryptInit(session, gcm(), key), "DecryptInit")
	opened, err := p.Decrypt(session, sealed)
	must(err, "Decrypt")
	check(len(sealed) == len(text)+16 && bytes.Equal(opened, text), "AES-GCM there and back")
	sealed[0] ^= 1
	must(p.DecryptInit(session, gcm(), key), "DecryptInit")
	_, err = p.Decrypt(session, sealed)
	check(err == pkcs11.Error(pkcs11.CKR_ENCRYPTED_DATA_INVALID), "what was changed is refused")
}

func tryDecrypt(p *pkcs11.Ctx, session pkcs11.SessionHandle, key pkcs11.ObjectHandle, public *rsa.PublicKey) {
	oaep := pkcs11.NewMechanism(pkcs11.CKM_RSA_PKCS_OAEP, pkcs11.NewOAEPParams(pkcs11.CKM_SHA256, pkcs11.CKG_MGF1_SHA256, pkcs11.CKZ_DATA_SPECIFIED, []byte("label")))
	cipher, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, public, []byte("a data key"), []byte("label"))
	must(err, "EncryptOAEP")
	must(p.DecryptInit(session, []*pkcs11.Mechanism{oaep}, key), "DecryptInit")
	opened, err := p.Decrypt(session, cipher)
	must(err, "Decrypt")
	check(string(opened) == "a data key", "RSA-OAEP with SHA-256 and a label")
}

// Each goroutine has a session of its own, as in crypto11's pool.
func trySigning(p *pkcs11.Ctx, slot uint, rsaPrivate, ecPrivate pkcs11.ObjectHandle, rsaPublic *rsa.PublicKey, ecPublic *ecdsa.PublicKey) {
	var all sync.WaitGroup
	var lock sync.Mutex
	good := 0
	for g := 0; g < 16; g++ {
		all.Add(1)
		go func(g int) {
			defer all.Done()
			session := open(p, slot)
			for i := 0; i < 20; i++ {
				text := []byte(fmt.Sprint("text ", g, " ", i))
				digest := sha256.Sum256(text)
				pkcs1 := sign(p, session, pkcs11.NewMechanism(pkcs11.CKM_SHA256_RSA_PKCS, nil), rsaPrivate, text)
				rs := sign(p, session, pkcs11.NewMechanism(pkcs11.CKM_ECDSA, nil), ecPrivate, digest[:])
				right := rsa.VerifyPKCS1v15(rsaPublic, crypto.SHA256, digest[:], pkcs1) == nil &&
					ecdsa.Verify(ecPublic, digest[:], new(big.Int).SetBytes(rs[:32]), new(big.Int).SetBytes(rs[32:]))
				lock.Lock()
				if right {
					good++
				}
				lock.Unlock()
			}
			must(p.CloseSession(session), "CloseSession")
		}(g)
	}
	all.Wait()
	check(good == 16*20, "320 RSA and 320 ECDSA signatures from 16 goroutines verify")
}

func main() {
	p := pkcs11.New(os.Args[1])
	check(p != nil, "the module loads")
	must(p.Initialize(), "Initialize")
	slots, err := p.GetSlotList(true)
	must(err, "GetSlotList")
	info, err := p.GetTokenInfo(slots[0])
	must(err, "GetTokenInfo")
	check(info.Label == "bw acme" && info.MaxSessionCount == 0, "the token is "+info.Label)

	session := open(p, slots[0])
	tryGCM(p, session)
	rsaPublic := rsaKey(p, session, find(p, session, pkcs11.CKO_PUBLIC_KEY, "rsa"))
	ecPublic := ecKey(p, session, find(p, session, pkcs11.CKO_PUBLIC_KEY, "ec"))
	rsaPrivate, ecPrivate := find(p, session, pkcs11.CKO_PRIVATE_KEY, "rsa"), find(p, session, pkcs11.CKO_PRIVATE_KEY, "ec")
	tryDecrypt(p, session, rsaPrivate, rsaPublic)
	trySigning(p, slots[0], rsaPrivate, ecPrivate, rsaPublic, ecPublic)
	must(p.Finalize(), "Finalize")
	p.Destroy()
}
