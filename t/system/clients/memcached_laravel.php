<?php
// Laravel's memcached store and its locks, as its connector configures the client.
require __DIR__ . '/checks.php';
require 'Illuminate/autoload.php';

use Illuminate\Cache\MemcachedConnector;
use Illuminate\Cache\MemcachedStore;
use Illuminate\Cache\Repository;

$servers = [['host' => $argv[1], 'port' => 0, 'weight' => 100]];
foreach (['text' => [], 'binary' => [Memcached::OPT_BINARY_PROTOCOL => true]] as $way => $options) {
    $store = new MemcachedStore((new MemcachedConnector())->connect($servers, null, $options), "app_$way");
    $cache = new Repository($store);

    check("$way: get set delete", function () use ($cache) {
        same(true, $cache->put('k', ['deep' => [1, 2]], 60));
        same(['deep' => [1, 2]], $cache->get('k'));
        same(true, $cache->has('k'));
        same(true, $cache->forget('k'));
        same(null, $cache->get('k'));
        same(true, $cache->forever('k', 'v'));
        same('v', $cache->pull('k'));
        same('computed', $cache->remember('r', 60, fn () => 'computed'));
    });
    check("$way: many", function () use ($cache) {
        same(true, $cache->putMany(['a' => 1, 'b' => 'two'], 60));
        same(['a' => 1, 'b' => 'two', 'nope' => null], $cache->many(['a', 'b', 'nope']));
    });
    check("$way: counters", function () use ($cache) {
        $cache->put('n', 1, 60);
        same(5, $cache->increment('n', 4));
        same(3, $cache->decrement('n', 2));
    });
    check("$way: add", function () use ($cache) {
        same(true, $cache->add('added', 'first', 60));
        same(false, $cache->add('added', 'second', 60));
        same('first', $cache->get('added'));
    });
    check("$way: locks", function () use ($store) {
        $mine = $store->lock('l', 10);
        same(true, $mine->get());
        same(false, $store->lock('l', 10)->get());
        same(false, $store->lock('l', 10)->release());
        same(true, $mine->release());
        same(true, $store->lock('l', 10)->get());
        $store->lock('l')->forceRelease();
        same('ran', $store->lock('l', 10)->get(fn () => 'ran'));
    });
    check("$way: tags", function () use ($cache) {
        $cache->tags(['people'])->put('ada', 'x', 60);
        same('x', $cache->tags(['people'])->get('ada'));
        $cache->tags(['people'])->flush();
        same(null, $cache->tags(['people'])->get('ada'));
    });
    check("$way: clear", function () use ($cache) {
        $cache->put('k', 'v', 60);
        same(true, $cache->flush());
        same(null, $cache->get('k'));
    });
}
