// SPDX-License-Identifier: Apache-2.0

package label

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/image/draw"
)

// render draws a symbol with the given pixels per module, which may be broken.
func render(t testing.TB, s *Symbol, pixels float64) *image.Gray {
	t.Helper()
	data, err := s.PNG(12)
	if err != nil {
		t.Fatal(err)
	}
	big, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	side := int(math.Round(float64(s.Modules()+2*Quiet) * pixels))
	out := image.NewGray(image.Rect(0, 0, side, side))
	draw.BiLinear.Scale(out, out.Rect, big, big.Bounds(), draw.Src, nil)
	return out
}

// eachPixel returns img with f applied to every pixel.
func eachPixel(img *image.Gray, f func(x, y int, v uint8) uint8) *image.Gray {
	out := image.NewGray(img.Rect)
	for y := range img.Rect.Dy() {
		for x := range img.Rect.Dx() {
			out.SetGray(x, y, color.Gray{Y: f(x, y, img.GrayAt(x, y).Y)})
		}
	}
	return out
}

// blur is a Gaussian blur with sigma in pixels.
func blur(img *image.Gray, sigma float64) *image.Gray {
	n := int(3*sigma + 1)
	pass := func(img *image.Gray, dx, dy int) *image.Gray {
		return eachPixel(img, func(x, y int, _ uint8) uint8 {
			sum, weight := 0.0, 0.0
			for i := -n; i <= n; i++ {
				p := image.Pt(x+i*dx, y+i*dy)
				if !p.In(img.Rect) {
					continue
				}
				w := math.Exp(-float64(i*i) / (2 * sigma * sigma))
				sum += w * float64(img.GrayAt(p.X, p.Y).Y)
				weight += w
			}
			return uint8(sum / weight)
		})
	}
	return pass(pass(img, 1, 0), 0, 1)
}

// turn rotates by an angle in degrees about the centre, on grey ground.
func turn(img *image.Gray, degrees float64) *image.Gray {
	sin, cos := math.Sincos(degrees * math.Pi / 180)
	side := float64(img.Rect.Dx())
	big := image.NewGray(image.Rect(0, 0, int(side*1.5), int(side*1.5)))
	return eachPixel(big, func(x, y int, _ uint8) uint8 {
		u, v := float64(x)-side*0.75, float64(y)-side*0.75
		p := image.Pt(int(u*cos+v*sin+side/2), int(-u*sin+v*cos+side/2))
		if !p.In(img.Rect) {
			return 200
		}
		return img.GrayAt(p.X, p.Y).Y
	})
}

func asPNG(t testing.TB, img image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func asJPEG(t testing.TB, img image.Image, quality int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, &jpeg.Options{Quality: quality}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// decodes reads an image and fails the test unless it says want.
func decodes(t *testing.T, data []byte, want string) {
	t.Helper()
	got, err := Decode(context.Background(), bytes.NewReader(data), Limits{})
	if err != nil || got != want {
		t.Errorf("Decode = %q, %v; want %q", got, err, want)
	}
}

// zbar reads an image with zbarimg, if it is installed.
func zbar(t *testing.T, data []byte) (text string, installed bool) {
	t.Helper()
	program, err := exec.LookPath("zbarimg")
	if err != nil {
		return "", false
	}
	name := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	out, _ := exec.Command(program, "--raw", "--quiet", "-Sdisable", "-Sqrcode.enable", name).Output()
	return strings.TrimSuffix(string(out), "\n"), true
}

func testSymbols(t testing.TB) map[string]*Symbol {
	t.Helper()
	short, err := FieldSymbol(public(t, "https://id.example"), code(t, "MA.156.1301.D7"))
	if err != nil {
		t.Fatal(err)
	}
	long, err := FieldSymbol(public(t, "https://id.example"), code(t, "MA.156.1301.02/20.010501/000045"))
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := CertificateSymbol(public(t, "https://id.example"), testCertificate(t))
	if err != nil {
		t.Fatal(err)
	}
	report, err := SourceSymbol(public(t, "https://id.example"), testMark(t))
	if err != nil {
		t.Fatal(err)
	}
	plate, err := SourceSymbol(public(t, "https://id.example"), testPlate(t))
	if err != nil {
		t.Fatal(err)
	}
	return map[string]*Symbol{"field-29": short, "field-33": long, "certificate": certificate, "report": report, "plate": plate}
}

func TestDistortions(t *testing.T) {
	dirt := func(img *image.Gray) *image.Gray {
		side := img.Rect.Dx()
		return eachPixel(img, func(x, y int, v uint8) uint8 {
			if math.Hypot(float64(x-side*6/10), float64(y-side*6/10)) < float64(side)/40 {
				return 0
			}
			return v
		})
	}
	noise := func(img *image.Gray) *image.Gray {
		r := rand.New(rand.NewPCG(1, 2))
		return eachPixel(img, func(_, _ int, v uint8) uint8 {
			return uint8(min(max(float64(v)+r.NormFloat64()*40, 0), 255))
		})
	}
	bare := func(s *Symbol) *image.Gray {
		img := render(t, s, 5)
		q := Quiet * 5
		out := image.NewGray(image.Rect(0, 0, img.Rect.Dx(), img.Rect.Dy()))
		for i := range out.Pix {
			out.Pix[i] = 40
		}
		draw.Draw(out, img.Rect.Inset(q), img, image.Pt(q, q), draw.Src)
		return out
	}
	tests := []struct {
		name string
		make func(s *Symbol) []byte
	}{
		{"clean", func(s *Symbol) []byte { return asPNG(t, render(t, s, 4)) }},
		{"1.5 px a module", func(s *Symbol) []byte { return asPNG(t, render(t, s, 1.5)) }},
		{"2 px a module", func(s *Symbol) []byte { return asPNG(t, render(t, s, 2)) }},
		{"inverted", func(s *Symbol) []byte {
			return asPNG(t, eachPixel(render(t, s, 4), func(_, _ int, v uint8) uint8 { return 255 - v }))
		}},
		{"low contrast", func(s *Symbol) []byte {
			return asPNG(t, eachPixel(render(t, s, 4), func(_, _ int, v uint8) uint8 { return 115 + uint8(int(v)*38/255) }))
		}},
		{"shadow", func(s *Symbol) []byte {
			return asPNG(t, eachPixel(render(t, s, 5), func(x, y int, v uint8) uint8 { return uint8(int(v) * (60 + (x+y)/3) / 255) }))
		}},
		{"rotated 90", func(s *Symbol) []byte { return asPNG(t, turn(render(t, s, 4), 90)) }},
		{"rotated 45", func(s *Symbol) []byte { return asPNG(t, turn(render(t, s, 5), 45)) }},
		{"rotated 187", func(s *Symbol) []byte { return asPNG(t, turn(render(t, s, 5), 187)) }},
		{"mirrored", func(s *Symbol) []byte {
			img := render(t, s, 4)
			return asPNG(t, eachPixel(img, func(x, y int, _ uint8) uint8 { return img.GrayAt(img.Rect.Dx()-1-x, y).Y }))
		}},
		{"blur 0.45 module", func(s *Symbol) []byte { return asPNG(t, blur(render(t, s, 6), 0.45*6)) }},
		{"jpeg q10", func(s *Symbol) []byte { return asJPEG(t, render(t, s, 5), 10) }},
		{"noise", func(s *Symbol) []byte { return asPNG(t, noise(render(t, s, 5))) }},
		{"dirt", func(s *Symbol) []byte { return asPNG(t, dirt(render(t, s, 5))) }},
		{"no quiet zone, dark surround", func(s *Symbol) []byte { return asPNG(t, bare(s)) }},
		{"transparent", func(s *Symbol) []byte {
			img := render(t, s, 4)
			out := image.NewNRGBA(img.Rect)
			for i, v := range img.Pix {
				out.Pix[4*i+3] = 255 - v
			}
			return asPNG(t, out)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for name, s := range testSymbols(t) {
				t.Run(name, func(t *testing.T) { decodes(t, tt.make(s), s.Text()) })
			}
		})
	}
}

// TestZbar compares with another reader, on images that any reader must read.
func TestZbar(t *testing.T) {
	for name, s := range testSymbols(t) {
		for _, data := range [][]byte{asPNG(t, render(t, s, 4)), asPNG(t, turn(render(t, s, 4), 20)), asJPEG(t, render(t, s, 5), 30)} {
			text, installed := zbar(t, data)
			if !installed {
				if os.Getenv("CI") != "" {
					t.Fatal("zbarimg is not installed; scripts/test installs it")
				}
				t.Skip("zbarimg is not installed")
			}
			if text != s.Text() {
				t.Errorf("%s: zbarimg read %q, want %q", name, text, s.Text())
			}
			decodes(t, data, s.Text())
		}
	}
}

// TestPhotograph reads a small label in a picture of 12 million pixels.
func TestPhotograph(t *testing.T) {
	s := testSymbols(t)["field-33"]
	big := image.NewYCbCr(image.Rect(0, 0, 4000, 3000), image.YCbCrSubsampleRatio420)
	for i := range big.Y {
		big.Y[i] = uint8(150 + (i*7919>>8)%40)
	}
	for i := range big.Cb {
		big.Cb[i], big.Cr[i] = 128, 128
	}
	label := render(t, s, 9)
	for y := range label.Rect.Dy() {
		copy(big.Y[big.YOffset(1900, 1200+y):], label.Pix[y*label.Stride:][:label.Rect.Dx()])
	}
	start := time.Now()
	decodes(t, asJPEG(t, big, 80), s.Text())
	t.Logf("12 million pixels in %v", time.Since(start).Round(time.Millisecond))
}

// pngHeader returns a PNG that claims a size and has no pixels.
func pngHeader(w, h uint32, depth, colour byte) []byte {
	chunk := binary.BigEndian.AppendUint32([]byte("IHDR"), w)
	chunk = binary.BigEndian.AppendUint32(chunk, h)
	chunk = append(chunk, depth, colour, 0, 0, 0)
	out := append([]byte("\x89PNG\r\n\x1a\n"), 0, 0, 0, 13)
	out = append(out, chunk...)
	return binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(chunk))
}

// manyScans returns a JPEG with its scan repeated.
func manyScans(t *testing.T, n int) []byte {
	data := asJPEG(t, image.NewGray(image.Rect(0, 0, 64, 64)), 50)
	at := bytes.Index(data, []byte{0xff, 0xda})
	scan := data[at : len(data)-2]
	out := bytes.Clone(data[:at])
	for range n {
		out = append(out, scan...)
	}
	return append(out, 0xff, 0xd9)
}

func TestRefusedImages(t *testing.T) {
	s := testSymbols(t)["field-29"]
	whole := asPNG(t, render(t, s, 4))
	photo := asJPEG(t, render(t, s, 4), 80)
	var asGIF bytes.Buffer
	if err := gif.Encode(&asGIF, render(t, s, 4), nil); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		data []byte
		want error
	}{
		{"empty", nil, ErrImage},
		{"text", []byte("HTTPS://ID.EXAMPLE/MA"), ErrImage},
		{"gif", asGIF.Bytes(), ErrImage},
		{"png cut in header", whole[:20], ErrImage},
		{"png cut in pixels", whole[:len(whole)/2], ErrImage},
		{"jpeg cut in header", photo[:30], ErrImage},
		{"jpeg cut in pixels", photo[:len(photo)/2], ErrImage},
		{"png bomb", pngHeader(60000, 60000, 8, 2), ErrTooLarge},
		{"png bomb of few octets a pixel", pngHeader(60000, 60000, 1, 0), ErrTooLarge},
		{"png deep", pngHeader(6000, 6000, 16, 6), ErrTooLarge},
		{"png without width", pngHeader(0, 5, 8, 2), ErrImage},
		{"jpeg of many scans", manyScans(t, 500), ErrTooLarge},
		{"tiny", asPNG(t, image.NewGray(image.Rect(0, 0, 3, 3))), ErrNoSymbol},
		{"line", asPNG(t, image.NewGray(image.Rect(0, 0, 50000, 1))), ErrNoSymbol},
		{"blank", asPNG(t, image.NewGray(image.Rect(0, 0, 300, 300))), ErrNoSymbol},
		{"file too long", make([]byte, 32<<20+1), ErrTooLarge},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text, err := Decode(context.Background(), bytes.NewReader(tt.data), Limits{})
			if text != "" || !errors.Is(err, tt.want) {
				t.Errorf("Decode = %q, %v; want %v", text, err, tt.want)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	data := asPNG(t, render(t, testSymbols(t)["field-29"], 4))
	for _, l := range []Limits{{Bytes: 100}, {Pixels: 1000}, {Memory: 1000}} {
		if _, err := Decode(context.Background(), bytes.NewReader(data), l); !errors.Is(err, ErrTooLarge) {
			t.Errorf("limits %+v: got %v, want ErrTooLarge", l, err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Decode(ctx, bytes.NewReader(data), Limits{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v", err)
	}
}

func TestJPEGScans(t *testing.T) {
	for n := 1; n <= 5; n++ {
		if progressive, scans := jpegScans(manyScans(t, n)); progressive || scans != n {
			t.Errorf("%d scans: got %d, progressive %v", n, scans, progressive)
		}
	}
}

// TestManyCorners checks that an image full of corners, which would take the
// recogniser hours, is given up soon.
func TestManyCorners(t *testing.T) {
	corner := []string{"########", "#.....##", "#.###.##", "#.###.##", "#.###.##", "#.....##", "########", "########"}
	img := image.NewGray(image.Rect(0, 0, 1600, 1600))
	img = eachPixel(img, func(x, y int, _ uint8) uint8 {
		x, y = x/2%10-1, y/2%10-1
		if x >= 0 && y >= 0 && x < 7 && y < 7 && corner[y][x] == '#' {
			return 0
		}
		return 255
	})
	start := time.Now()
	_, err := Decode(context.Background(), bytes.NewReader(asPNG(t, img)), Limits{})
	if !errors.Is(err, ErrNoSymbol) {
		t.Errorf("got %v, want ErrNoSymbol", err)
	}
	if d := time.Since(start); d > 30*time.Second {
		t.Errorf("took %v", d)
	} else {
		t.Logf("took %v", d.Round(time.Millisecond))
	}
}

func FuzzDecode(f *testing.F) {
	s := testSymbols(f)["field-29"]
	f.Add(asPNG(f, render(f, s, 2)))
	f.Add(asJPEG(f, render(f, s, 2), 20))
	f.Add(pngHeader(60000, 60000, 8, 2))
	f.Fuzz(func(t *testing.T, data []byte) {
		text, err := Decode(context.Background(), bytes.NewReader(data), Limits{Pixels: 20000})
		if err != nil && text != "" {
			t.Errorf("text %q beside error %v", text, err)
		}
	})
}

// FuzzRead gives the recogniser pixels directly, past the image formats'
// checksums.
func FuzzRead(f *testing.F) {
	img := render(f, testSymbols(f)["field-29"], 1)
	f.Add(img.Pix, byte(img.Stride))
	f.Fuzz(func(t *testing.T, pixels []byte, width byte) {
		w := max(int(width), 1)
		h := min(len(pixels)/w, 256)
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		img := &image.Gray{Pix: pixels[:w*h], Stride: w, Rect: image.Rect(0, 0, w, h)}
		if text, err := read(ctx, img); (err == nil) == (text == "") || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("read = %q, %v", text, err)
		}
	})
}
