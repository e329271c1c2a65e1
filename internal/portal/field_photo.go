// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	_ "image/png" // is decoded too

	"cityid"
)

// A photograph is kept as pixels alone: it is decoded, made smaller and encoded
// anew, so nothing of the camera, its owner or its place is left in the file, and
// nothing that is not a picture.

const (
	photoSide   = 1600       // most pixels of a side of a photograph that is kept
	photoPixels = 24_000_000 // of one that is taken
)

// cleanPhoto returns a photograph encoded anew.
func (pg *page) cleanPhoto(b []byte) ([]byte, error) {
	bad := cityid.Errorf(cityid.ErrInvalid, "the photograph is neither JPEG nor PNG")
	c, format, err := image.DecodeConfig(bytes.NewReader(b))
	if err != nil || format != "jpeg" && format != "png" || c.Width < 1 || c.Height < 1 {
		return nil, bad
	}
	if c.Width > photoPixels/c.Height {
		return nil, cityid.Errorf(cityid.ErrTooLarge, "the photograph has %d x %d pixels: at most 24 million", c.Width, c.Height)
	}
	select {
	case pg.decoding <- struct{}{}:
		defer func() { <-pg.decoding }()
	case <-pg.ctx.Done():
		return nil, cityid.Errorf(cityid.ErrFull, "many photographs are being read: try again in a moment")
	}
	m, _, err := image.Decode(bytes.NewReader(b))
	if err != nil {
		return nil, bad
	}
	var out bytes.Buffer
	if err := jpeg.Encode(&out, shrink(m, photoSide), &jpeg.Options{Quality: 82}); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// shrink returns m with no side longer than most, by averaging up to four by
// four of the pixels that fall into one.
func shrink(m image.Image, most int) image.Image {
	b := m.Bounds()
	w, h := b.Dx(), b.Dy()
	if w > most || h > most {
		if w >= h {
			w, h = most, max(1, h*most/w)
		} else {
			w, h = max(1, w*most/h), most
		}
	}
	n := min(4, max(1, (b.Dx()+w-1)/w))
	out := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			var red, green, blue uint32
			for i := range n * n {
				// The middle of each part of the source that becomes this pixel.
				sx := b.Min.X + (2*(x*n+i%n)+1)*b.Dx()/(2*w*n)
				sy := b.Min.Y + (2*(y*n+i/n)+1)*b.Dy()/(2*h*n)
				r, g, bl, a := m.At(sx, sy).RGBA()
				white := 0xffff - a // what is transparent is shown on white
				red, green, blue = red+(r+white)>>8, green+(g+white)>>8, blue+(bl+white)>>8
			}
			k := uint32(n * n)
			out.SetRGBA(x, y, color.RGBA{uint8(red / k), uint8(green / k), uint8(blue / k), 255})
		}
	}
	return out
}
