// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cometbft/cometbft/crypto"
	"github.com/cometbft/cometbft/crypto/ed25519"
	cmtjson "github.com/cometbft/cometbft/libs/json"
	"github.com/cometbft/cometbft/p2p"
	"github.com/cometbft/cometbft/privval"
	voi "github.com/oasisprotocol/curve25519-voi/primitives/ed25519"

	"cityid"
	"cityid/internal/durable"
	"cityid/keys"
)

// Files of a node's home folder.
const (
	genesisFile        = "genesis.json"
	nodeKeyFile        = "node_key.json"
	validatorKeyFile   = "validator_key.json"
	validatorStateFile = "validator_state.json"
	blocksDir          = "blocks" // CometBFT's databases and write-ahead log
	stateDir           = "state"  // the state tree
)

// Identity is what others know a node by.
type Identity struct {
	Node      string           // id in peers' addresses: 40 hexadecimal digits
	NodeKey   cityid.PublicKey // ed25519 key from which the id follows
	Validator cityid.PublicKey // ed25519 key its votes are signed with
}

// Signers returns what signs with the keys in a home folder: that of the node,
// and that of the validator. They are for messages that begin with a tag and are
// hashed, which no vote is.
func Signers(home string) ([]cityid.Signer, error) {
	node, err := readNodeKey(home)
	if err != nil {
		return nil, err
	}
	validator, err := readValidatorKey(home)
	if err != nil {
		return nil, err
	}
	var out []cityid.Signer
	for _, k := range []crypto.PrivKey{node.PrivKey, validator} {
		out = append(out, cityid.Signer{Key: publicKey(k.PubKey().Bytes()), Sign: k.Sign})
	}
	return out, nil
}

// InitHome makes the folder home, unless it is there, and writes a new node
// key, a new validator key and its empty signing state into it. It refuses,
// with an error that matches [fs.ErrExist], a folder that holds any of them:
// one validator key in two places signs two histories.
func InitHome(home string) (Identity, error) {
	if err := os.MkdirAll(home, 0o700); err != nil {
		return Identity{}, fmt.Errorf("make home folder: %w", err)
	}
	for _, f := range []string{nodeKeyFile, validatorKeyFile, validatorStateFile} {
		if _, err := os.Lstat(filepath.Join(home, f)); err == nil {
			return Identity{}, fmt.Errorf("%s: the folder already holds a node: %w", filepath.Join(home, f), fs.ErrExist)
		}
	}
	node := &p2p.NodeKey{PrivKey: ed25519.GenPrivKey()}
	pv := privval.NewFilePV(ed25519.GenPrivKey(), "", "")
	// The node's key comes last: where it is, the others are.
	for _, f := range []struct {
		name string
		v    any
	}{{validatorStateFile, pv.LastSignState}, {validatorKeyFile, pv.Key}, {nodeKeyFile, node}} {
		text, err := cmtjson.MarshalIndent(f.v, "", "  ")
		if err != nil {
			return Identity{}, fmt.Errorf("write %s: %w", f.name, err)
		}
		if err := writeNew(filepath.Join(home, f.name), append(text, '\n')); err != nil {
			return Identity{}, err
		}
	}
	return ReadIdentity(home)
}

// ReadIdentity returns the public halves of the keys in a home folder.
func ReadIdentity(home string) (Identity, error) {
	node, err := readNodeKey(home)
	if err != nil {
		return Identity{}, err
	}
	key, err := readValidatorKey(home)
	if err != nil {
		return Identity{}, err
	}
	return Identity{Node: string(node.ID()), NodeKey: publicKey(node.PubKey().Bytes()), Validator: publicKey(key.PubKey().Bytes())}, nil
}

// publicKey returns the encoded form of a bare Ed25519 key.
func publicKey(bare []byte) cityid.PublicKey {
	return cityid.PublicKey(append([]byte{byte(keys.Ed25519)}, bare...))
}

// writeNew writes a file that must not exist, whole and through to disk.
func writeNew(name string, text []byte) error {
	if err := durable.WriteNew(name, text); err != nil {
		return fmt.Errorf("write new file %s: %w", name, err)
	}
	return nil
}

func readNodeKey(home string) (*p2p.NodeKey, error) {
	key, err := readPrivateKey(filepath.Join(home, nodeKeyFile))
	if err != nil {
		return nil, err
	}
	return &p2p.NodeKey{PrivKey: key}, nil
}

func readValidatorKey(home string) (ed25519.PrivKey, error) {
	return readPrivateKey(filepath.Join(home, validatorKeyFile))
}

// readPrivateKey reads the key from a node key or validator key file in
// CometBFT's form.
func readPrivateKey(name string) (ed25519.PrivKey, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	var file struct {
		PrivKey struct {
			Type  string `json:"type"`
			Value string `json:"value"`
		} `json:"priv_key"`
	}
	if err := json.Unmarshal(text, &file); err != nil {
		return nil, fmt.Errorf("key file %s: %w", name, err)
	}
	secret, err := base64.StdEncoding.DecodeString(file.PrivKey.Value)
	if err != nil || file.PrivKey.Type != ed25519.PrivKeyName || len(secret) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("key file %s: want a private key of type %s with %d octets in base64", name, ed25519.PrivKeyName, ed25519.PrivateKeySize)
	}
	key := voi.NewKeyFromSeed(secret[:ed25519.SeedSize])
	if !bytes.Equal(key, secret) {
		return nil, fmt.Errorf("key file %s: the public half does not belong to the secret", name)
	}
	return ed25519.PrivKey(key), nil
}

// openValidator reads the validator key and what it signed last. CometBFT's own
// loader ends the process when it can not read a file; this one returns an
// error. Signing keeps to CometBFT's rule: the state is on disk before a
// signature leaves.
func openValidator(home string) (*privval.FilePV, error) {
	key, err := readValidatorKey(home)
	if err != nil {
		return nil, err
	}
	name := filepath.Join(home, validatorStateFile)
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read what the validator signed last: %w; without it the node could sign a height twice: restore the file from where it was moved", err)
	}
	var last privval.FilePVLastSignState
	if err := cmtjson.Unmarshal(text, &last); err != nil {
		return nil, fmt.Errorf("what the validator signed last, in %s: %w; restore the file", name, err)
	}
	pv := privval.NewFilePV(key, filepath.Join(home, validatorKeyFile), name)
	s := &pv.LastSignState
	s.Height, s.Round, s.Step, s.Signature, s.SignBytes = last.Height, last.Round, last.Step, last.Signature, last.SignBytes
	return pv, nil
}
