// SPDX-License-Identifier: Apache-2.0

package label

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"
)

// Errors of [Decode], to be told apart with errors.Is.
var (
	ErrImage    = errors.New("not a readable PNG or JPEG image")
	ErrTooLarge = errors.New("image too large")
	ErrNoSymbol = errors.New("no QR symbol found: photograph one label from nearer, sharp and evenly lit")
)

// Limits bounds what [Decode] accepts. A zero field means its default.
type Limits struct {
	Bytes  int64 // of the file; 32 MiB
	Pixels int64 // width times height; 40 million
	Memory int64 // octets of the decoded image, estimated from its header; 192 MiB
}

func (l Limits) withDefaults() Limits {
	if l.Bytes <= 0 {
		l.Bytes = 32 << 20
	}
	if l.Pixels <= 0 {
		l.Pixels = 40_000_000
	}
	if l.Memory <= 0 {
		l.Memory = 192 << 20
	}
	return l
}

const (
	// workPixels is the size above which an image is reduced before reading.
	workPixels = 4_000_000
	// maxScans bounds the passes of a JPEG: each may be a few octets long and
	// yet cost a walk over the whole image.
	maxScans = 24
)

// Decode reads one QR symbol from a PNG or JPEG and returns its text, which
// [ParsePayload] understands. The header is judged before any pixel is
// decoded. Images above 4 million pixels are reduced; then several attempts
// follow, each for what defeats the one before: as it is, as a bare symbol,
// inverted, and rescaled. Of several symbols any one may be returned, so crop a
// photograph of a sheet to the label in question.
//
// Decode stops soon after ctx is done and then returns its error. A call may
// take a few seconds and the memory that l allows, so a server should admit few
// at once. Other errors wrap [ErrImage], [ErrTooLarge] or [ErrNoSymbol], or
// are those of r.
func Decode(ctx context.Context, r io.Reader, l Limits) (string, error) {
	l = l.withDefaults()
	data, err := io.ReadAll(io.LimitReader(r, l.Bytes+1))
	if err != nil {
		return "", fmt.Errorf("read image: %w", err)
	}
	if int64(len(data)) > l.Bytes {
		return "", fmt.Errorf("%w: file of more than %d octets", ErrTooLarge, l.Bytes)
	}
	img, err := open(data, l)
	if err != nil {
		return "", err
	}
	if err := ctx.Err(); err != nil {
		return "", err
	}
	return read(ctx, reduce(img))
}

// format is one way of decoding, with the memory it takes.
type format struct {
	config func(io.Reader) (image.Config, error)
	decode func(io.Reader) (image.Image, error)
	octets int64 // per pixel; 0: by the colour model
	factor int64
}

// open checks the header and decodes the image.
func open(data []byte, l Limits) (image.Image, error) {
	f := format{config: png.DecodeConfig, decode: png.Decode, factor: 1}
	switch {
	case bytes.HasPrefix(data, []byte("\x89PNG\r\n\x1a\n")):
		if len(data) > 28 && data[28] != 0 { // interlaced: passes have images of their own
			f.factor = 2
		}
	case bytes.HasPrefix(data, []byte("\xff\xd8")):
		progressive, scans := jpegScans(data)
		if scans > maxScans {
			return nil, fmt.Errorf("%w: JPEG of more than %d scans", ErrTooLarge, maxScans)
		}
		f.config, f.decode = jpeg.DecodeConfig, jpeg.Decode
		if progressive { // coefficients of four octets are kept for every sample
			f.factor = 5
		}
	default:
		return nil, ErrImage
	}
	c, err := f.config(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrImage, err)
	}
	pixels := int64(c.Width) * int64(c.Height)
	if c.Width <= 0 || c.Height <= 0 || pixels/int64(c.Width) != int64(c.Height) {
		return nil, fmt.Errorf("%w: %d x %d pixels", ErrImage, c.Width, c.Height)
	}
	if pixels > l.Pixels {
		return nil, fmt.Errorf("%w: %d x %d pixels, at most %d in all: send a smaller picture", ErrTooLarge, c.Width, c.Height, l.Pixels)
	}
	if pixels*octets(c.ColorModel)*f.factor > l.Memory {
		return nil, fmt.Errorf("%w: %d x %d pixels in this encoding need more than %d octets: send a smaller picture or a plain JPEG", ErrTooLarge, c.Width, c.Height, l.Memory)
	}
	img, err := f.decode(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrImage, err)
	}
	return img, nil
}

// octets returns the memory of one decoded pixel.
func octets(m color.Model) int64 {
	switch m {
	case color.GrayModel:
		return 1
	case color.Gray16Model:
		return 2
	case color.YCbCrModel:
		return 3
	case color.RGBAModel, color.NRGBAModel:
		return 4
	}
	if _, ok := m.(color.Palette); ok {
		return 1
	}
	return 8 // 16 bits a channel, or CMYK and its conversion
}

// jpegScans walks a JPEG's markers and reports whether it is progressive and
// how many scans it has, counting no further than needed to refuse it.
func jpegScans(data []byte) (progressive bool, scans int) {
	for i := 2; i+4 <= len(data) && scans <= maxScans; {
		if data[i] != 0xff {
			i++ // entropy-coded data, or filling
			continue
		}
		m := data[i+1]
		switch {
		case m == 0xff:
			i++
		case m == 0 || m == 0x01 || m >= 0xd0 && m <= 0xd8:
			i += 2 // stuffing, or a marker without a length
		case m == 0xd9:
			return progressive, scans
		default:
			if m == 0xc2 {
				progressive = true
			}
			if m == 0xda {
				scans++
			}
			i += 2 + (int(data[i+2])<<8 | int(data[i+3]))
		}
	}
	return progressive, scans
}

// reduce turns an image into grey on white, averaging squares of k x k pixels
// with the least k that brings it down to workPixels.
func reduce(img image.Image) *image.Gray {
	r := img.Bounds()
	k := 1
	for (r.Dx()/k)*(r.Dy()/k) > workPixels {
		k++
	}
	w, h := r.Dx()/k, r.Dy()/k
	out := image.NewGray(image.Rect(0, 0, w, h))
	at := greyAt(img)
	for y := range h {
		for x := range w {
			sum := 0
			for dy := range k {
				for dx := range k {
					sum += int(at(r.Min.X+x*k+dx, r.Min.Y+y*k+dy))
				}
			}
			out.Pix[y*out.Stride+x] = uint8(sum / (k * k))
		}
	}
	return out
}

// greyAt returns a function that reads one pixel as grey on a white ground.
func greyAt(img image.Image) func(x, y int) uint8 {
	switch m := img.(type) {
	case *image.Gray:
		return func(x, y int) uint8 { return m.Pix[m.PixOffset(x, y)] }
	case *image.YCbCr:
		return func(x, y int) uint8 { return m.Y[m.YOffset(x, y)] }
	case *image.NRGBA:
		return func(x, y int) uint8 {
			p := m.Pix[m.PixOffset(x, y):][:4:4]
			return uint8((luma(uint32(p[0]), uint32(p[1]), uint32(p[2]))*uint32(p[3]) + 255*(255-uint32(p[3]))) / 255)
		}
	case *image.Paletted:
		var table [256]uint8
		for i := range table {
			table[i] = 255
			if i < len(m.Palette) {
				table[i] = grey(m.Palette[i].RGBA())
			}
		}
		return func(x, y int) uint8 { return table[m.Pix[m.PixOffset(x, y)]] }
	case image.RGBA64Image:
		return func(x, y int) uint8 {
			c := m.RGBA64At(x, y)
			return grey(uint32(c.R), uint32(c.G), uint32(c.B), uint32(c.A))
		}
	}
	return func(x, y int) uint8 { return grey(img.At(x, y).RGBA()) }
}

// grey returns an alpha-premultiplied colour of 16 bits a channel on white.
func grey(r, g, b, a uint32) uint8 {
	return uint8(min(luma(r, g, b)+0xffff-a, 0xffff) >> 8)
}

// luma weighs the channels as ITU-R BT.601 does.
func luma(r, g, b uint32) uint32 { return (299*r + 587*g + 114*b) / 1000 }
