<?php
// What Laravel's cache does on every store, for the suites of its stores.

use Illuminate\Cache\Repository;

function check_laravel_basics(string $name, Repository $cache): void
{
    check("$name: get set delete", function () use ($cache) {
        same(true, $cache->put('k', ['deep' => [1, 2]], 60));
        same(['deep' => [1, 2]], $cache->get('k'));
        same(true, $cache->has('k'));
        same(true, $cache->forget('k'));
        same(null, $cache->get('k'));
        same(true, $cache->forever('k', 'v'));
        same('v', $cache->pull('k'));
        same('computed', $cache->remember('r', 60, fn () => 'computed'));
    });
    check("$name: add", function () use ($cache) {
        same(true, $cache->add('added', 'first', 60));
        same(false, $cache->add('added', 'second', 60));
        same('first', $cache->get('added'));
    });
}

function check_laravel_locks(string $name, $store): void
{
    check("$name: locks", function () use ($store) {
        $mine = $store->lock('l', 10);
        same(true, $mine->get());
        same(false, $store->lock('l', 10)->get());
        same(false, $store->lock('l', 10)->release());
        same(true, $mine->release());
        same(true, $store->lock('l', 10)->get());
        $store->lock('l')->forceRelease();
        same('ran', $store->lock('l', 10)->get(fn () => 'ran'));
    });
}

function check_laravel_tags(string $name, Repository $cache): void
{
    check("$name: tags", function () use ($cache) {
        $cache->tags(['people'])->put('ada', 'x', 60);
        same('x', $cache->tags(['people'])->get('ada'));
        $cache->tags(['people'])->flush();
        same(null, $cache->tags(['people'])->get('ada'));
    });
}

function check_laravel_clear(string $name, Repository $cache): void
{
    check("$name: clear", function () use ($cache) {
        $cache->put('k', 'v', 60);
        same(true, $cache->flush());
        same(null, $cache->get('k'));
    });
}
