"""Output `window`: under X11 or Wayland, by SDL (package PySDL2), which draws without OpenGL here."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from common.errors import ConfigError, DeviceError
from common.pixels import Plane
from common.settings import ScreenSettings
from services.screen.output import Resized

SIZE = (1280, 720)
DRIVERS = b"wayland,x11"


class WindowOutput:
    """A window that people may resize; F11 or F fills the screen, Escape goes back."""

    fd = None

    def __init__(self, settings: ScreenSettings) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it tells which of its libraries it uses
            try:
                import sdl2
            except ImportError as error:
                raise ConfigError('screen.output=window: pip install "vedette[window]"') from error
        self._sdl: Any = sdl2
        self._settings = settings
        self._window: Any = None
        self._closed = False
        self.name = "window"

    def open(self) -> tuple[int, int]:
        """Make the window, or take its new size."""
        sdl = self._sdl
        if self._closed:
            raise DeviceError("the window was closed; restart `screen` to have it again")
        if self._window is None:
            self._make()
        surface = sdl.SDL_GetWindowSurface(self._window)
        if not surface:
            raise DeviceError(f"window: {self._why()}")
        size = int(surface.contents.w), int(surface.contents.h)
        driver = sdl.SDL_GetCurrentVideoDriver().decode()
        self.name = f"window {size[0]}x{size[1]} on {driver}"
        self._size, self._fresh = size, True
        return size

    def ready(self) -> bool:
        """Look after keys and the size."""
        sdl, event = self._sdl, self._sdl.SDL_Event()
        changed = False
        while sdl.SDL_PollEvent(event):
            if event.type == sdl.SDL_QUIT:
                self._closed = True
                self.close()
                raise DeviceError("the window was closed; restart `screen` to have it again")
            if event.type == sdl.SDL_KEYDOWN:
                self._key(event.key.keysym.sym)
            changed |= event.type == sdl.SDL_WINDOWEVENT and event.window.event == sdl.SDL_WINDOWEVENT_SIZE_CHANGED
        if changed:
            surface = sdl.SDL_GetWindowSurface(self._window)
            if not surface or (surface.contents.w, surface.contents.h) != self._size:
                raise Resized("the window has another size")
        return True

    def show(self, picture: Plane) -> None:
        """Put the picture into the window."""
        sdl = self._sdl
        picture = np.ascontiguousarray(picture)
        height, width = picture.shape[:2]
        source = sdl.SDL_CreateRGBSurfaceWithFormatFrom(
            picture.ctypes.data, width, height, 24, 3 * width, sdl.SDL_PIXELFORMAT_BGR24
        )
        target = sdl.SDL_GetWindowSurface(self._window)
        failed = not source or not target or sdl.SDL_BlitSurface(source, None, target, None)
        if source:
            sdl.SDL_FreeSurface(source)
        if failed or sdl.SDL_UpdateWindowSurface(self._window):
            raise DeviceError(f"window: {self._why()}")

    def close(self) -> None:
        """Close the window."""
        window, self._window = self._window, None
        if window is not None:
            self._sdl.SDL_DestroyWindow(window)
            self._sdl.SDL_Quit()

    def _make(self) -> None:
        sdl = self._sdl
        sdl.SDL_SetHint(sdl.SDL_HINT_NO_SIGNAL_HANDLERS, b"1")
        sdl.SDL_SetHint(sdl.SDL_HINT_VIDEODRIVER, DRIVERS)
        sdl.SDL_SetHint(sdl.SDL_HINT_FRAMEBUFFER_ACCELERATION, b"0")
        if sdl.SDL_Init(sdl.SDL_INIT_VIDEO):
            raise DeviceError(f"no X11 or Wayland here, or it refuses ({self._why()}); is DISPLAY set for the node?")
        width, height = _wished(self._settings.mode)
        place = sdl.SDL_WINDOWPOS_CENTERED
        flags = sdl.SDL_WINDOW_RESIZABLE | sdl.SDL_WINDOW_ALLOW_HIGHDPI
        flags |= sdl.SDL_WINDOW_FULLSCREEN_DESKTOP if self._settings.fullscreen else 0
        self._window = sdl.SDL_CreateWindow(b"Vedette", place, place, width, height, flags)
        if not self._window:
            why = self._why()
            self._window = None
            sdl.SDL_Quit()
            raise DeviceError(f"window: {why}")
        if self._settings.fullscreen:
            sdl.SDL_ShowCursor(sdl.SDL_DISABLE)

    def _key(self, key: int) -> None:
        sdl = self._sdl
        full = bool(sdl.SDL_GetWindowFlags(self._window) & sdl.SDL_WINDOW_FULLSCREEN_DESKTOP)
        wished = not full if key in {sdl.SDLK_F11, sdl.SDLK_f} else full and key != sdl.SDLK_ESCAPE
        if wished != full:
            sdl.SDL_SetWindowFullscreen(self._window, sdl.SDL_WINDOW_FULLSCREEN_DESKTOP if wished else 0)
            sdl.SDL_ShowCursor(sdl.SDL_DISABLE if wished else sdl.SDL_ENABLE)

    def _why(self) -> str:
        return str(self._sdl.SDL_GetError().decode(errors="replace")) or "no reason given"


def _wished(mode: str | None) -> tuple[int, int]:
    if mode is None:
        return SIZE
    width, _, height = mode.partition("@")[0].partition("x")
    return int(width), int(height)
