// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cometbft/cometbft/crypto/ed25519"
	cmtjson "github.com/cometbft/cometbft/libs/json"
	"github.com/cometbft/cometbft/types"

	"cityid"
	"cityid/internal/registry"
	"cityid/internal/store"
	"cityid/keys"
)

// MaxBlock is the size of the largest block in octets. Small blocks keep their
// rhythm under load; it holds three of the largest transactions.
const MaxBlock = 2 << 20

// MaxGenesis bounds a genesis file in octets.
const MaxGenesis = 64 << 20

// Genesis is what a zone is founded with. On disk it is a CometBFT genesis file
// whose app_state is the State. All founders must have the same file; they
// compare its hash.
type Genesis struct {
	Chain string      // chain id, with a random suffix and never used before
	Time  cityid.Time // of block 1; the same for all, not what each one's clock says
	State registry.Genesis
}

// Check reports the first thing that keeps a chain from being founded so.
func (g *Genesis) Check() error {
	_, err := g.Trust()
	return err
}

// Trust returns version 1 of the zone's trust root, which follows from the
// genesis alone, or the first thing that keeps a chain from being founded so.
func (g *Genesis) Trust() (*cityid.Trust, error) {
	doc, err := g.doc()
	if err != nil {
		return nil, err
	}
	if err := doc.ValidateAndComplete(); err != nil {
		return nil, fmt.Errorf("genesis: %w", err)
	}
	trial, err := store.Open("", store.Options{ChainID: g.Chain, FS: vfs.NewMem()})
	if err != nil {
		return nil, fmt.Errorf("genesis: %w", err)
	}
	defer trial.Close()
	batch, err := trial.Begin()
	if err != nil {
		return nil, fmt.Errorf("genesis: %w", err)
	}
	defer batch.Discard()
	if err := g.State.Init(store.Must{ReadWriter: batch}, g.block(), keys.Verify); err != nil {
		return nil, err
	}
	text, err := batch.Get(cityid.TrustKey(1))
	if err != nil {
		return nil, fmt.Errorf("genesis: %w", err)
	}
	t := new(cityid.Trust)
	if err := cityid.Unmarshal(text, t); err != nil {
		return nil, fmt.Errorf("genesis: trust root: %w", err)
	}
	return t, nil
}

func (g *Genesis) block() registry.Block { return registry.Block{Chain: g.Chain, Time: g.Time} }

// Hash is the SHA-256 of the genesis file as [WriteGenesis] writes it.
func (g *Genesis) Hash() cityid.Digest {
	text, err := g.Encode()
	if err != nil {
		return cityid.Digest{}
	}
	return sha256.Sum256(text)
}

// Encode returns the genesis file.
func (g *Genesis) Encode() ([]byte, error) {
	doc, err := g.doc()
	if err != nil {
		return nil, err
	}
	text, err := cmtjson.MarshalIndent(doc, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("genesis: %w", err)
	}
	return append(text, '\n'), nil
}

// doc returns CometBFT's form.
func (g *Genesis) doc() (*types.GenesisDoc, error) {
	if !cityid.ValidChainID(g.Chain) {
		return nil, fmt.Errorf("genesis: chain id %.60q: want 1 to 50 letters, digits, dots or hyphens", g.Chain)
	}
	if g.Time <= 0 || !g.Time.Valid() {
		return nil, fmt.Errorf("genesis: the time is missing")
	}
	state, err := json.Marshal(&g.State)
	if err != nil {
		return nil, fmt.Errorf("genesis state: %w", err)
	}
	doc := &types.GenesisDoc{
		GenesisTime: g.Time.Std(), ChainID: g.Chain, InitialHeight: 1,
		ConsensusParams: consensusParams(), AppState: state,
	}
	for _, v := range g.State.Validators {
		if v.Key.Algorithm() != "ed25519" || len(v.Key) != 1+ed25519.PubKeySize {
			return nil, fmt.Errorf("genesis: validator %s: want an ed25519 key", v.Key)
		}
		key := ed25519.PubKey(v.Key[1:])
		doc.Validators = append(doc.Validators, types.GenesisValidator{Address: key.Address(), PubKey: key, Power: v.Power})
	}
	return doc, nil
}

// consensusParams are the same for every chain of this version.
func consensusParams() *types.ConsensusParams {
	p := types.DefaultConsensusParams()
	p.Block.MaxBytes = MaxBlock
	p.Block.MaxGas = -1
	// Who signs two histories can be held to account for longer than the 14
	// days a verifier trusts a validator set.
	p.Evidence.MaxAgeDuration = 21 * 24 * time.Hour
	p.Evidence.MaxAgeNumBlocks = 100_000
	p.Evidence.MaxBytes = 128 << 10
	p.Version.App = cityid.FoundingRules
	return p
}

// WriteGenesis checks g and writes it into a home folder, where there must not
// be a genesis file yet.
func WriteGenesis(home string, g *Genesis) error {
	if err := g.Check(); err != nil {
		return err
	}
	text, err := g.Encode()
	if err != nil {
		return err
	}
	return writeNew(filepath.Join(home, genesisFile), text)
}

// ReadGenesis reads the genesis file of a home folder. It refuses files this
// version can not run: other consensus parameters, validators that are not
// those of the state, fields it does not know.
func ReadGenesis(home string) (*Genesis, error) {
	name := filepath.Join(home, genesisFile)
	if info, err := os.Stat(name); err != nil {
		return nil, fmt.Errorf("read genesis: %w; get the file from the founders of the network", err)
	} else if info.Size() > MaxGenesis {
		return nil, fmt.Errorf("genesis file %s has %d octets: at most %d", name, info.Size(), MaxGenesis)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read genesis: %w", err)
	}
	g, err := ParseGenesis(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return g, nil
}

// ParseGenesis returns the genesis in the text of a genesis file.
func ParseGenesis(text []byte) (*Genesis, error) {
	var doc types.GenesisDoc
	if err := cmtjson.Unmarshal(text, &doc); err != nil {
		return nil, fmt.Errorf("genesis: %w", err)
	}
	g := &Genesis{Chain: doc.ChainID, Time: cityid.TimeOf(doc.GenesisTime)}
	d := json.NewDecoder(bytes.NewReader(doc.AppState))
	d.DisallowUnknownFields()
	if err := d.Decode(&g.State); err != nil {
		return nil, fmt.Errorf("genesis state: %w", err)
	}
	want, err := g.doc()
	if err != nil {
		return nil, err
	}
	switch {
	case !doc.GenesisTime.Equal(want.GenesisTime):
		return nil, fmt.Errorf("genesis: the time %s is not in whole seconds", doc.GenesisTime)
	case doc.InitialHeight != 1 || len(doc.AppHash) != 0:
		return nil, fmt.Errorf("genesis: a chain begins at height 1 with no app hash")
	case !reflect.DeepEqual(doc.ConsensusParams, want.ConsensusParams):
		return nil, fmt.Errorf("genesis: the consensus parameters are not those of this version of the program")
	case !reflect.DeepEqual(doc.Validators, want.Validators):
		return nil, fmt.Errorf("genesis: the validators are not those of the application state")
	}
	return g, nil
}

// sameState reports whether CometBFT founds the chain with g's state.
func (g *Genesis) sameState(appState []byte) bool {
	want, err := json.Marshal(&g.State)
	if err != nil {
		return false
	}
	var a, b bytes.Buffer
	return json.Compact(&a, want) == nil && json.Compact(&b, appState) == nil && bytes.Equal(a.Bytes(), b.Bytes())
}
